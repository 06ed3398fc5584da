{{/* study.yaml, and a checksum of it and of the space's files, which replaces pods when they change. */}}

{{- define "cifake-tune.study" -}}
{{- $study := deepCopy .Values.study }}
{{- if not $study.name }}{{ $_ := set $study "name" (.Release.Name | replace "." "-") }}{{ end }}
{{- with .Values.script.run }}
{{- $folder := $.Values.script.code | empty | ternary (dir .) "/etc/cifake-tune/space" }}
{{- $script := dict "script" (base .) "code" $folder "arguments" (include "cifake-tune.script.args" $ | fromJsonArray) }}
{{- $_ := set $study "space" (merge $script ($study.space | default dict)) }}
{{- end }}
{{- if .Values.space.code }}
{{- $_ := set $study "space" (merge (dict "code" "/etc/cifake-tune/space") ($study.space | default dict)) }}
{{- end }}
{{- toYaml $study }}
{{- end }}

{{/* The script's arguments as a JSON array of strings: helm reads `--set script.args={--epochs,3}` as a number. */}}
{{- define "cifake-tune.script.args" -}}
{{- $args := list }}
{{- range .Values.script.args }}{{ $args = append $args (kindIs "float64" . | ternary (toJson .) (toString .)) }}{{ end }}
{{- toJson $args }}
{{- end }}

{{/* The files of the space or of the script, by name, as JSON; empty if there are none. */}}
{{- define "cifake-tune.files" -}}
{{- with merge dict (.Values.space.code | default dict) (.Values.script.code | default dict) }}{{ toJson . }}{{ end }}
{{- end }}

{{- define "cifake-tune.study.checksum" -}}
{{ list (include "cifake-tune.study" .) (include "cifake-tune.files" .) | join "\n" | sha256sum }}
{{- end }}
