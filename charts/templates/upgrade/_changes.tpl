{{/* Differences between the live study and the new one. */}}

{{/* Write all settings into the dictionary `into`, by their paths, such as data.batch_size. space.values is one setting,
     because users choose its keys. Called with (dict "values" SETTINGS "prefix" "" "into" DICT). */}}
{{- define "cifake-tune.upgrade.flatten" -}}
{{- $call := . }}
{{- range $key, $value := .values }}
{{- $path := printf "%s%s" $call.prefix $key }}
{{- if and (kindIs "map" $value) (ne $path "space.values") }}
{{- include "cifake-tune.upgrade.flatten" (dict "values" $value "prefix" (printf "%s." $path) "into" $call.into) }}
{{- else }}
{{- $_ := set $call.into $path $value }}
{{- end }}
{{- end }}
{{- end }}

{{/* YAML of the settings in `live` and in `new`, both by their paths. Both are empty if there is no live study. */}}
{{- define "cifake-tune.upgrade.settings" -}}
{{- $live := dict }}{{ $new := dict }}
{{- with (lookup "v1" "ConfigMap" .Release.Namespace (include "cifake-tune.study.name" .)).data }}
{{- include "cifake-tune.upgrade.flatten" (dict "values" (index . "study.yaml" | default "" | fromYaml) "prefix" "" "into" $live) }}
{{- include "cifake-tune.upgrade.flatten" (dict "values" (include "cifake-tune.study" $ | fromYaml) "prefix" "" "into" $new) }}
{{- end }}
{{- dict "live" $live "new" $new | toYaml }}
{{- end }}

{{/* JSON of a setting, or of its default. Called with (list . SETTINGS PATH). */}}
{{- define "cifake-tune.upgrade.setting" -}}
{{- $settings := index . 1 }}{{ $path := index . 2 }}
{{- $default := get (((index . 0).Files.Get "known-values.json" | fromJson).study) (printf "study.%s" $path) }}
{{- if and (eq $path "space.name") (get $settings "space.import") }}{{ $default = first (list nil) }}{{ end }}
{{- if and (eq $path "search.early_stopping.policy") (eq (get $settings "search.algorithm") "hyperband") }}{{ $default = "none" }}{{ end }}
{{- range list "max_hours" "max_worker_hours" "target" "patience_trials" }}
{{- if and (eq $path "search.max_trials") (not (kindIs "invalid" (get $settings (printf "search.%s" .)))) (hasKey $settings (printf "search.%s" .)) }}{{ $default = first (list nil) }}{{ end }}
{{- end }}
{{- $value := get $settings $path }}
{{- $value = ternary $value $default (and (hasKey $settings $path) (not (kindIs "invalid" $value))) }}
{{- /* two names of one policy */}}
{{- if and (eq $path "search.early_stopping.policy") (eq (toString $value) "asha") }}{{ $value = "stopping" }}{{ end }}
{{- $value | toJson }}
{{- end }}

{{/* "true" if a chief of this release serves workers. */}}
{{- define "cifake-tune.upgrade.searching" -}}
{{- range (lookup "batch/v1" "Job" .Release.Namespace "").items }}
{{- $labels := .metadata.labels | default dict }}
{{- $ours := eq (get $labels "app.kubernetes.io/instance") $.Release.Name }}
{{- if and $ours (eq (get $labels "app.kubernetes.io/component") "chief") ((.status | default dict).ready) }}true{{ end }}
{{- end }}
{{- end }}

{{/* What an upgrade changes, for NOTES. */}}
{{- define "cifake-tune.upgrade.notes" -}}
{{- if .Release.IsUpgrade }}
{{- $settings := include "cifake-tune.upgrade.settings" . | fromYaml }}
{{- $lines := list }}
{{- range $path := concat (keys $settings.live) (keys $settings.new) | uniq | sortAlpha }}
{{- $old := ternary (get $settings.live $path | toJson) "the default" (hasKey $settings.live $path) }}
{{- $now := ternary (get $settings.new $path | toJson) "the default" (hasKey $settings.new $path) }}
{{- if and (eq $path "notify.webhook") (ne $old $now) }}
{{- $lines = append $lines "  study.notify.webhook" }}
{{- else if ne $old $now }}{{ $lines = append $lines (printf "  study.%s: %s -> %s" $path $old $now) }}{{ end }}
{{- end }}
{{- $names := list (toString $settings.live.name) (toString $settings.new.name) }}
{{- if and $settings.live (ne (first $names) (last $names)) }}

This upgrade starts the study {{ last $names }}, or continues it if the bucket contains it. The study {{ first $names }} ends here, and stays in the bucket.
{{- else if and $settings.live $lines }}

This upgrade changes these settings of the study:
{{ join "\n" $lines }}
{{- if contains "study.data.source: " (join "\n" $lines) }}
A study that has begun keeps its data set, so the new data.source has no effect on it. To search on other data, set study.name.
{{- end }}
{{- else if $settings.live }}

This upgrade changes no setting of the study.
{{- end }}
{{- end }}
{{- end }}
