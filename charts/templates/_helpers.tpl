{{/* Names and labels. */}}

{{- define "cifake-tune.name" -}}
cifake-tune
{{- end }}

{{/* Prefix of the names of objects: the release's name, followed by `-cifake-tune` unless it contains it. It has at most 40 characters, because the names of Jobs extend it, and the host
     names of their pods are limited to 63. */}}
{{- define "cifake-tune.fullname" -}}
{{- $name := .Release.Name | replace "." "-" }}
{{- $application := .Values.nameOverride | default "cifake-tune" }}
{{- if .Values.fullnameOverride }}{{ $name = .Values.fullnameOverride }}
{{- else if not (contains $application $name) }}{{ $name = printf "%s-%s" $name $application }}{{ end }}
{{- if gt (len $name) 40 }}{{ $name = printf "%s-%s" ($name | trunc 33 | trimSuffix "-") (sha256sum $name | trunc 6) }}{{ end }}
{{- $name }}
{{- end }}

{{- define "cifake-tune.chief.name" -}}
{{ include "cifake-tune.fullname" . }}-chief
{{- end }}

{{- define "cifake-tune.bucket.name" -}}
{{ include "cifake-tune.fullname" . }}-bucket
{{- end }}

{{- define "cifake-tune.study.name" -}}
{{ include "cifake-tune.fullname" . }}-study
{{- end }}

{{- define "cifake-tune.space.name" -}}
{{ include "cifake-tune.fullname" . }}-space
{{- end }}

{{- define "cifake-tune.tls.name" -}}
{{ .Values.tls.existingSecret | default (printf "%s-tls" (include "cifake-tune.fullname" .)) }}
{{- end }}

{{/* Service account of all pods except the chief. */}}
{{- define "cifake-tune.serviceAccount" -}}
{{ .Values.serviceAccounts.name | default (include "cifake-tune.fullname" .) }}
{{- end }}

{{- define "cifake-tune.chief.serviceAccount" -}}
{{ .Values.serviceAccounts.chiefName | default (include "cifake-tune.chief.name" .) }}
{{- end }}

{{/* Name of a component's Job. The pod template of a Job is immutable, so the name contains a hash of the template, and a
     changed template results in a new Job. A failed Job never runs again, even after the cause, such as a missing
     permission, has been fixed. Therefore the next upgrade creates a new Job with the revision in its name, and later
     upgrades keep that name.
     A search that gave up continues when its workers are replaced, which needs a new chief and another evaluation. So
     the name of the evaluator's Job covers the workers' template as well, and the chief's template contains that name.
     Helm keeps both Jobs if a chief serves workers, so that an upgrade of the workers does not replace it. A chief
     whose evaluation has started is ready too, but its search has ended.
     Called with (list . COMPONENT). */}}
{{- define "cifake-tune.job.name" -}}
{{- $root := index . 0 }}{{ $component := index . 1 }}
{{- $template := include "cifake-tune.job.template" . }}
{{- $base := printf "%s-%s" (include "cifake-tune.fullname" $root) $component }}
{{- $name := printf "%s-%s" $base $template }}
{{- $unaware := $name }}
{{- $restarts := false }}{{ $evaluated := false }}
{{- if has $component (list "chief" "evaluator") }}
{{- $restarts = include "cifake-tune.worker.replaced" $root }}
{{- if $restarts }}{{ $evaluated = include "cifake-tune.evaluation.started" $root }}{{ end }}
{{- end }}
{{- if eq $component "evaluator" }}
{{- $name = printf "%s-%s" $base (list $template (include "cifake-tune.job.template" (list $root "worker")) | join "\n" | sha256sum | trunc 8) }}
{{- end }}
{{- $kept := "" }}{{ $taken := false }}
{{- range (lookup "batch/v1" "Job" $root.Release.Namespace "").items }}
{{- $same := eq (get (.metadata.annotations | default dict) "cifake-tune/template") $template }}
{{- if or (hasPrefix $name .metadata.name) (hasPrefix $unaware .metadata.name) (and $same (hasPrefix $base .metadata.name)) }}
{{- $status := .status | default dict }}
{{- $idle := or $evaluated (and (eq $component "chief") (not $status.ready)) }}
{{- if or (include "cifake-tune.job.failed" .) (and $restarts $idle) }}
{{- if hasPrefix $name .metadata.name }}{{ $taken = true }}{{ end }}
{{- else }}{{ $kept = .metadata.name }}{{ end }}
{{- end }}
{{- end }}
{{- if $kept }}{{ $kept }}{{ else if $taken }}{{ $name }}-{{ $root.Release.Revision }}{{ else }}{{ $name }}{{ end }}
{{- end }}

{{/* Hash of the immutable part of a component's Job. Called with (list . COMPONENT). */}}
{{- define "cifake-tune.job.template" -}}
{{- include (printf "cifake-tune.%s.spec" (index . 1)) (index . 0) | sha256sum | trunc 8 }}
{{- end }}

{{/* "true" if the workers' Job does not exist yet, and an earlier one does or did: an upgrade replaces the workers. */}}
{{- define "cifake-tune.worker.replaced" -}}
{{- if .Release.IsUpgrade }}
{{- if not (lookup "batch/v1" "Job" .Release.Namespace (include "cifake-tune.job.name" (list . "worker"))) }}true{{ end }}
{{- end }}
{{- end }}

{{/* "true" if an evaluation of this release has started, so that its search has ended. */}}
{{- define "cifake-tune.evaluation.started" -}}
{{- $prefix := printf "%s-evaluator-" (include "cifake-tune.fullname" .) }}
{{- range (lookup "batch/v1" "Job" .Release.Namespace "").items }}
{{- $queued := hasKey (.metadata.labels | default dict) "kueue.x-k8s.io/queue-name" }}
{{- if and (hasPrefix $prefix .metadata.name) (ne (toString .spec.parallelism) "0") (or $queued (not .spec.suspend)) }}true{{ end }}
{{- end }}
{{- end }}

{{- define "cifake-tune.job.complete" -}}
{{- range (.status | default dict).conditions }}
{{- if and (eq .type "Complete") (eq .status "True") }}true{{ end }}
{{- end }}
{{- end }}

{{- define "cifake-tune.job.failed" -}}
{{- range (.status | default dict).conditions }}
{{- if and (eq .type "Failed") (eq .status "True") }}true{{ end }}
{{- end }}
{{- end }}

{{/* Name of the image. The registry of all charts of a release takes precedence over that of this chart. */}}
{{- define "cifake-tune.image" -}}
{{- with .Values.global.imageRegistry | default .Values.image.registry }}{{ . | trimSuffix "/" }}/{{ end -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{/* Fields of a Job that may change while it exists. They are not part of the template that its name hashes. Called with
     the values of the component. */}}
{{- define "cifake-tune.job.limits" -}}
{{- range list "ttlSecondsAfterFinished" "activeDeadlineSeconds" }}
{{- if not (kindIs "invalid" (get $ .)) }}{{ printf "%s: %d" . (int (get $ .)) | nindent 2 }}{{ end }}
{{- end }}
{{- end }}

{{/* Name of the Kueue LocalQueue of an object, if it has one. Called with (list . COMPONENT). */}}
{{- define "cifake-tune.queue" -}}
{{- $root := index . 0 }}
{{- $values := get (dict "worker" $root.Values.workers "evaluator" $root.Values.evaluator) (index . 1) | default dict }}
{{- $values.queueName | default $root.Values.kueue.queueName }}
{{- end }}

{{/* Labels by which Kueue finds the queue and the priority of an object, at an indentation of 4. They are not part of the
     pod template, so that another queue does not replace the pods. Called with (list . COMPONENT). */}}
{{- define "cifake-tune.queue.labels" -}}
{{- $root := index . 0 }}
{{- $values := get (dict "worker" $root.Values.workers "evaluator" $root.Values.evaluator) (index . 1) | default dict }}
{{- with include "cifake-tune.queue" . }}
    kueue.x-k8s.io/queue-name: {{ . }}
{{- with $values.queuePriorityClassName | default $root.Values.kueue.priorityClassName }}
    kueue.x-k8s.io/priority-class: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "cifake-tune.selectorLabels" -}}
app.kubernetes.io/name: {{ include "cifake-tune.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* Labels of objects. Called with (list . COMPONENT). */}}
{{- define "cifake-tune.labels" -}}
{{- $root := index . 0 -}}
{{ include "cifake-tune.selectorLabels" $root }}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
helm.sh/chart: {{ $root.Chart.Name }}-{{ $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Annotations of an object, if there are any: commonAnnotations and those given, of which the later ones take precedence.
     Called with (list . ANNOTATIONS...), at an indentation of 2. */}}
{{- define "cifake-tune.annotations" -}}
{{- $annotations := deepCopy (first .).Values.commonAnnotations }}
{{- range rest . }}{{ $annotations = merge (dict) (. | default dict) $annotations }}{{ end }}
{{- with $annotations }}
{{- dict "annotations" . | toYaml | nindent 2 }}
{{- end }}
{{- end }}

{{/* Labels of pods. They contain no versions, because a new version would replace the pods. Called with
     (list . COMPONENT). */}}
{{- define "cifake-tune.podLabels" -}}
{{- $root := index . 0 -}}
{{ include "cifake-tune.selectorLabels" $root }}
app.kubernetes.io/component: {{ index . 1 }}
{{- with merge (dict) $root.Values.podLabels $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}
