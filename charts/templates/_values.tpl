{{/* Defaults of absent values, and the name of the value that is nearest to an unknown one. Both read known-values.json,
     which schema/generate.py writes from values.yaml. */}}

{{/* Set every absent or null value to its default. Helm does this from values.yaml, but not after `--reuse-values`, which
     replaces all of values.yaml by the values of the previous release, and not for null. Every template includes this
     first. Maps whose keys are the user's own, such as `resources`, are taken as they are. */}}
{{- define "cifake-tune.defaults" -}}
{{- range $path, $default := (.Files.Get "known-values.json" | fromJson).defaults }}
{{- $section := $.Values }}{{ $keys := splitList "." $path }}
{{- range initial $keys }}
{{- if or (not (hasKey $section .)) (kindIs "invalid" (get $section .)) }}{{ $_ := set $section . dict }}{{ end }}
{{- $section = get $section . }}
{{- end }}
{{- if or (not (hasKey $section (last $keys))) (kindIs "invalid" (get $section (last $keys))) }}
{{- $_ := set $section (last $keys) $default }}
{{- end }}
{{- end }}
{{- end }}

{{/* Paths of all values and of all settings of a study, as `paths`, and those of their sections too, as `candidates`. */}}
{{- define "cifake-tune.values.known" -}}
{{- $known := .Files.Get "known-values.json" | fromJson }}
{{- $paths := concat (without (keys $known.defaults) "study") (keys $known.study) | sortAlpha }}
{{- $candidates := list }}
{{- range $paths }}
{{- $candidates = append $candidates . }}
{{- if gt (len (splitList "." .)) 2 }}{{ $candidates = append $candidates (splitList "." . | initial | join ".") }}{{ end }}
{{- end }}
{{- dict "paths" $paths "candidates" (uniq $candidates) | toJson }}
{{- end }}

{{/* Refuse keys that the chart does not know. The schema does not refuse them, because Helm's message would not name the
     nearest key. Called with (list . SECTION VALUES-OF-THE-SECTION KNOWN), where SECTION is "" or ends with a dot. */}}
{{- define "cifake-tune.values.check" -}}
{{- $root := index . 0 }}{{ $section := index . 1 }}{{ $known := index . 3 }}
{{- $siblings := list }}
{{- range $path := $known.paths }}
{{- if hasPrefix $section $path }}{{ $siblings = append $siblings (trimPrefix $section $path | splitList "." | first) }}{{ end }}
{{- end }}
{{- $siblings = uniq $siblings }}
{{- range $key, $value := index . 2 }}
{{- $path := printf "%s%s" $section $key }}
{{- if and (eq $section "") (or (eq $key "global") (and (eq $key "enabled") (not $root.Chart.IsRoot))) }}
{{- /* values of a parent chart */}}
{{- else if not (has $key $siblings) }}
{{- $valid := list }}
{{- range $siblings }}{{ $valid = append $valid (print $section .) }}{{ end }}
{{- $nearest := include "cifake-tune.values.nearest" (list $key (ternary $valid (concat $valid $known.candidates) (ne $section ""))) }}
{{- $remedy := ternary (printf "did you mean %s?" $nearest) (printf "the values are %s." (join ", " $valid)) (ne $nearest "") }}
{{- fail (printf "%s is not a value of this chart; %s" $path $remedy) }}
{{- else if and (kindIs "map" $value) (not (has $path $known.paths)) }}
{{- include "cifake-tune.values.check" (list $root (printf "%s." $path) $value $known) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Refuse keys under `global` unless a parent chart may read them. */}}
{{- define "cifake-tune.values.check.global" -}}
{{- $root := index . 0 }}{{ $section := index . 1 }}{{ $known := index . 3 }}
{{- range $key, $value := index . 2 }}
{{- $path := printf "%s%s" $section $key }}
{{- if has $path $known.paths }}
{{- else if and (kindIs "map" $value) $value }}
{{- include "cifake-tune.values.check.global" (list $root (printf "%s." $path) $value $known) }}
{{- else }}
{{- $nearest := include "cifake-tune.values.nearest" (list (trimPrefix "global." $path) $known.candidates) }}
{{- $remedy := ternary (printf "did you mean %s?" $nearest) "remove it." (ne $nearest "") }}
{{- fail (printf "%s has no effect, because this chart reads only global.imageRegistry under global; %s" $path $remedy) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The candidates that are most similar to a key, joined by "or", or nothing if none is similar enough. The similarity is
     the share of common pairs of letters (Dice's coefficient) in thousandths. A candidate with dots is also compared by
     its last part. Called with (list KEY CANDIDATES). */}}
{{- define "cifake-tune.values.nearest" -}}
{{- $best := 400 }}{{ $nearest := list }}
{{- $key := index . 0 | lower | replace "." "" }}
{{- $pairs := sub (len $key) 1 | int }}
{{- range $candidate := index . 1 }}
{{- range $text := list $candidate (splitList "." $candidate | last) | uniq }}
{{- $text = lower $text | replace "." "" }}
{{- $shared := 0 }}
{{- range $start := untilStep 0 $pairs 1 }}
{{- if contains (substr $start (add $start 2 | int) $key) $text }}{{ $shared = add $shared 1 }}{{ end }}
{{- end }}
{{- $similarity := div (mul 2000 $shared) (add $pairs (len $text) -1 | max 1) | int }}
{{- if gt $similarity $best }}{{ $best = $similarity }}{{ $nearest = list $candidate }}
{{- else if and (eq $similarity $best) $nearest }}{{ $nearest = append $nearest $candidate }}{{ end }}
{{- end }}
{{- end }}
{{- uniq $nearest | join " or " }}
{{- end }}

{{/* A quantity of Kubernetes, such as 500m, 2Gi or 1e9, as a number. */}}
{{- define "cifake-tune.quantity" -}}
{{- $factors := dict "" 1.0 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024.0 "Mi" 1048576.0 "Gi" 1073741824.0 "Ti" 1099511627776.0 "Pi" 1125899906842624.0 "Ei" 1152921504606846976.0 }}
{{- $text := toString . }}
{{- $number := regexFind "^[0-9.]+(e[+]?[0-9]+)?" $text }}
{{- mulf (float64 $number) (get $factors (trimPrefix $number $text)) }}
{{- end }}
