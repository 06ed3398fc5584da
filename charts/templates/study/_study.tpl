{{/* study.yaml, and a checksum of it and of the space's files, which replaces pods when they change. */}}

{{- define "cifake-tune.study" -}}
{{- $study := deepCopy .Values.study }}
{{- if not $study.name }}{{ $_ := set $study "name" (.Release.Name | replace "." "-") }}{{ end }}
{{- if .Values.space.code }}
{{- $_ := set $study "space" (merge (dict "code" "/etc/cifake-tune/space") ($study.space | default dict)) }}
{{- end }}
{{- toYaml $study }}
{{- end }}

{{- define "cifake-tune.study.checksum" -}}
{{ list (include "cifake-tune.study" .) (toJson .Values.space.code) | join "\n" | sha256sum }}
{{- end }}
