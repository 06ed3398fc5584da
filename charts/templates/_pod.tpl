{{/* Parts that all pods share. */}}

{{/* Metadata of a pod template. Called with (list . COMPONENT). */}}
{{- define "cifake-tune.pod.metadata" -}}
{{- $root := index . 0 }}{{ $component := index . 1 -}}
{{- $values := get (dict "data" $root.Values.data "chief" $root.Values.chief "worker" $root.Values.workers "evaluator" $root.Values.evaluator "bucket" $root.Values.bucket.emulator) $component }}
{{- $annotations := merge (dict) (($values | default dict).podAnnotations | default dict) $root.Values.podAnnotations -}}
labels:
  {{- include "cifake-tune.podLabels" . | nindent 2 }}
annotations:
  {{- if not (has $component (list "bucket" "tls" "upgrade-check")) }}
  checksum/study: {{ include "cifake-tune.study.checksum" $root }}
  {{- end }}
  {{- if and (has $component (list "chief" "worker")) (not $root.Values.metrics.podMonitor.enabled) (not (hasKey $annotations "prometheus.io/scrape")) }}
  prometheus.io/scrape: "true"
  prometheus.io/port: {{ $root.Values.metrics.port | quote }}
  prometheus.io/path: /metrics
  {{- end }}
  {{- with $annotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* Metadata of the template of a pod that runs for seconds, without the sidecar of a service mesh, which would keep the
     pod running. Called with (list . COMPONENT). */}}
{{- define "cifake-tune.pod.metadata.alone" -}}
{{- $metadata := include "cifake-tune.pod.metadata" . | fromYaml }}
{{- $labels := merge (dict) $metadata.labels (dict "sidecar.istio.io/inject" "false") }}
{{- $annotations := merge (dict) ($metadata.annotations | default dict) (dict "linkerd.io/inject" "disabled") }}
{{- dict "labels" $labels "annotations" $annotations | toYaml }}
{{- end }}

{{/* Security context and placement of a pod. Called with (list . VALUES-OF-THE-COMPONENT). */}}
{{- define "cifake-tune.pod.place" -}}
{{- $root := index . 0 }}{{ $values := index . 1 -}}
enableServiceLinks: false
securityContext:
  {{- toYaml $root.Values.podSecurityContext | nindent 2 }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with $values.schedulerName }}
schedulerName: {{ . }}
{{- end }}
{{- with $values.resourceClaims }}
resourceClaims:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $tolerations := $values.tolerations }}
{{- if or $values.gpus $values.resourceClaims }}
{{- /* nodes with parts of NVIDIA's GPUs, such as nvidia.com/mig-1g.10gb, have the taint of whole ones */}}
{{- $tainted := ternary "nvidia.com/gpu" $values.gpuResource (or (hasPrefix "nvidia.com/" $values.gpuResource) (not $values.gpus)) }}
{{- $tolerations = append $tolerations (dict "key" $tainted "operator" "Exists" "effect" "NoSchedule") }}
{{- end }}
{{- if $values.moveAfterSeconds }}
{{- range list "not-ready" "unreachable" }}
{{- $tolerations = append $tolerations (dict "key" (printf "node.kubernetes.io/%s" .) "operator" "Exists" "effect" "NoExecute" "tolerationSeconds" $values.moveAfterSeconds) }}
{{- end }}
{{- end }}
{{- with $tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Image and security context of a container. */}}
{{- define "cifake-tune.container.image" -}}
image: {{ include "cifake-tune.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.containerSecurityContext }}
securityContext:
  {{- with omit . "capabilities" }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with .capabilities }}
  {{- /* on one line, as before it was a value, because another text would give the Jobs other names */}}
  capabilities: {{ toJson . | replace "\"" "" | replace ":" ": " | replace "," ", " }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Image, security context and the user's environment of a container that runs cifake-tune. */}}
{{- define "cifake-tune.container" -}}
{{ include "cifake-tune.container.image" . }}
{{- $sources := .Values.extraEnvFrom }}
{{- with .Values.bucket.existingSecret }}
{{- $sources = prepend $sources (dict "secretRef" (dict "name" .)) }}
{{- end }}
{{- with $sources }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Init containers and sidecars of a pod, if there are any. Sidecars are native ones, because a Job with an ordinary
     second container would not complete before that container ends. They come first, so that init containers can use
     them. Called with (list . VALUES-OF-THE-COMPONENT INDENTATION). */}}
{{- define "cifake-tune.initContainers" -}}
{{- $root := index . 0 }}{{ $values := index . 1 }}{{ $containers := list }}
{{- range $values.sidecars }}
{{- $containers = append $containers (set (deepCopy .) "restartPolicy" "Always") }}
{{- end }}
{{- range $values.initContainers }}
{{- $containers = append $containers (deepCopy .) }}
{{- end }}
{{- range $containers }}
{{- if not (hasKey . "securityContext") }}{{ $_ := set . "securityContext" $root.Values.containerSecurityContext }}{{ end }}
{{- end }}
{{- with $containers }}
{{- dict "initContainers" . | toYaml | nindent (index $ 2) }}
{{- end }}
{{- end }}

{{/* Resources of a container, including GPUs. Called with the values of the component. */}}
{{- define "cifake-tune.resources" -}}
{{- $resources := deepCopy .resources }}
{{- if .gpus }}{{ $_ := set $resources "limits" (merge (dict .gpuResource .gpus) ($resources.limits | default dict)) }}{{ end }}
{{- range .resourceClaims }}
{{- $_ := set $resources "claims" (append ($resources.claims | default list) (dict "name" .name)) }}
{{- end -}}
resources:
  {{- toYaml $resources | nindent 2 }}
{{- end }}

{{/* Environment: study, logs and bucket. */}}
{{- define "cifake-tune.env" -}}
- {name: CIFAKE_TUNE_STUDY, value: /etc/cifake-tune/study.yaml}
{{- if ne .Values.logs.format "text" }}
- {name: CIFAKE_TUNE_LOG_FORMAT, value: {{ .Values.logs.format }}}
{{- end }}
- {name: CIFAKE_TUNE_BUCKET, value: {{ include "cifake-tune.bucket.url" . | quote }}}
{{- if include "cifake-tune.bucket.own" . }}
- {name: STORAGE_EMULATOR_HOST, value: "http://{{ include "cifake-tune.bucket.name" . }}:4443"}
{{- end }}
{{- include "cifake-tune.env.bucket" . }}
{{- include "cifake-tune.env.network" . }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Environment: certificates of the chief and its clients. */}}
{{- define "cifake-tune.env.tls" -}}
{{- if .Values.tls.enabled -}}
- {name: CIFAKE_TUNE_TLS_CERT, value: /etc/cifake-tune-tls/tls.crt}
- {name: CIFAKE_TUNE_TLS_KEY, value: /etc/cifake-tune-tls/tls.key}
- {name: CIFAKE_TUNE_TLS_CA, value: /etc/cifake-tune-tls/ca.crt}
{{- end }}
{{- end }}

{{/* Environment: the release, which a chief names when it takes over a study, and in its messages to workers. */}}
{{- define "cifake-tune.env.release" -}}
- {name: CIFAKE_TUNE_RELEASE, value: {{ .Release.Name | quote }}}
- name: CIFAKE_TUNE_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- end }}

{{/* Environment: address of the metrics and health endpoint of the chief and the workers. */}}
{{- define "cifake-tune.env.http" -}}
- {name: CIFAKE_TUNE_HTTP, value: "0.0.0.0:{{ .Values.metrics.port }}"}
{{- end }}

{{/* Environment: address, token and certificate of the live page. */}}
{{- define "cifake-tune.env.page" -}}
{{- with .Values.livePage -}}
{{- if .enabled -}}
- {name: CIFAKE_TUNE_LIVE_PAGE, value: "0.0.0.0:{{ .port }}"}
{{- with .tokenSecret }}
- name: CIFAKE_TUNE_LIVE_PAGE_TOKEN
  valueFrom: {secretKeyRef: {name: {{ . }}, key: token}}
{{- end }}
{{- if .tlsSecret }}
- {name: CIFAKE_TUNE_LIVE_PAGE_CERT, value: /etc/cifake-tune-page-tls/tls.crt}
- {name: CIFAKE_TUNE_LIVE_PAGE_KEY, value: /etc/cifake-tune-page-tls/tls.key}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Probes of the chief and the workers. A check takes 5 s if the process is blocked. */}}
{{- define "cifake-tune.probes" -}}
startupProbe:  # long enough to import Keras on a busy node with a cold image
  httpGet: {path: /healthz, port: http}
  periodSeconds: 2
  timeoutSeconds: 6
  failureThreshold: 300
livenessProbe:
  httpGet: {path: /healthz, port: http}
  periodSeconds: 20
  timeoutSeconds: 6
  failureThreshold: 6
{{- end }}

{{- define "cifake-tune.volumeMounts" -}}
- {name: scratch, mountPath: /scratch}
- {name: study, mountPath: /etc/cifake-tune/study.yaml, subPath: study.yaml, readOnly: true}
{{- include "cifake-tune.volumeMounts.bucket" . }}
{{- include "cifake-tune.volumeMounts.ca" . }}
{{- if include "cifake-tune.files" . }}
- {name: space, mountPath: /etc/cifake-tune/space, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "cifake-tune.volumeMounts.tls" -}}
{{- if .Values.tls.enabled -}}
- {name: tls, mountPath: /etc/cifake-tune-tls, readOnly: true}
{{- end }}
{{- end }}

{{/* Volume for temporary files. */}}
{{- define "cifake-tune.volumes.scratch" -}}
- {name: scratch, emptyDir: { {{- with .Values.scratch.sizeLimit }}sizeLimit: {{ . }}{{ end -}} }}
{{- end }}

{{- define "cifake-tune.volumes" -}}
{{ include "cifake-tune.volumes.scratch" . }}
- {name: study, configMap: {name: {{ include "cifake-tune.study.name" . }}}}
{{- include "cifake-tune.volumes.bucket" . }}
{{- include "cifake-tune.volumes.ca" . }}
{{- if include "cifake-tune.files" . }}
- {name: space, configMap: {name: {{ include "cifake-tune.space.name" . }}}}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "cifake-tune.volumes.tls" -}}
{{- if .Values.tls.enabled -}}
- {name: tls, secret: {secretName: {{ include "cifake-tune.tls.name" . }}, defaultMode: 0440}}
{{- end }}
{{- end }}
