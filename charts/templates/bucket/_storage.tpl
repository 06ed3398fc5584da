{{/* "true" if the release runs its own bucket, otherwise empty. */}}
{{- define "cifake-tune.bucket.own" -}}
{{- if not (or .Values.bucket.url .Values.bucket.persistentVolumeClaim.claimName) }}true{{ end }}
{{- end }}

{{/* URL of the bucket, as the pods open it. */}}
{{- define "cifake-tune.bucket.url" -}}
{{- if .Values.bucket.persistentVolumeClaim.claimName }}/bucket{{ else }}{{ .Values.bucket.url | default "gs://cifake-tune" }}{{ end }}
{{- end }}

{{/* Environment: where an object store is. Its credentials come from the service account, or from a Secret. */}}
{{- define "cifake-tune.env.bucket" -}}
{{- $variables := dict "s3://" (list "AWS_ENDPOINT_URL" "AWS_REGION" "") "az://" (list "AZURE_STORAGE_ENDPOINT" "" "AZURE_STORAGE_ACCOUNT_NAME") }}
{{- range $scheme, $names := $variables }}
{{- if hasPrefix $scheme $.Values.bucket.url }}
{{- range $index, $value := list $.Values.bucket.endpoint $.Values.bucket.region $.Values.bucket.storageAccount }}
{{- if $value }}
- {name: {{ index $names $index }}, value: {{ quote $value }}}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* "true" if pods read the bucket or the data from a URL outside the release, otherwise empty. */}}
{{- define "cifake-tune.bucket.remote" -}}
{{- $source := (.Values.study.data | default dict).source | default "" }}
{{- if or .Values.bucket.url (and (regexMatch "^(gs|s3|az)://" $source) (not (include "cifake-tune.bucket.own" .))) }}true{{ end }}
{{- end }}

{{/* Port of a URL. */}}
{{- define "cifake-tune.port" -}}
{{- $url := urlParse . }}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "80" "443" (eq $url.scheme "http")) }}
{{- end }}

{{/* Mount and volume of a bucket that is a folder of an existing PersistentVolumeClaim. */}}
{{- define "cifake-tune.volumeMounts.bucket" -}}
{{- with .Values.bucket.persistentVolumeClaim }}
{{- if .claimName }}
- {name: bucket, mountPath: /bucket{{ with .subPath }}, subPath: {{ quote . }}{{ end }}}
{{- end }}
{{- end }}
{{- end }}

{{- define "cifake-tune.volumes.bucket" -}}
{{- with .Values.bucket.persistentVolumeClaim.claimName }}
- {name: bucket, persistentVolumeClaim: {claimName: {{ . }}}}
{{- end }}
{{- end }}

{{/* "true" if the release's own bucket has a volume that outlives its pod, otherwise empty. This depends only on the values,
     because tools that only render the chart cannot look into the cluster. */}}
{{- define "cifake-tune.bucket.persistent" -}}
{{- if ne .Values.bucket.emulator.storageClass "-" }}true{{ end }}
{{- end }}

{{/* Fail if an upgrade would replace a bucket without a volume, because its study would be lost. Older charts ran the
     bucket without a volume if the cluster had no default StorageClass. */}}
{{- define "cifake-tune.bucket.check" -}}
{{- $name := include "cifake-tune.bucket.name" . }}
{{- if include "cifake-tune.bucket.persistent" . }}
{{- range dig "spec" "template" "spec" "volumes" list (lookup "apps/v1" "Deployment" .Release.Namespace $name | default dict) }}
{{- if and (eq .name "bucket") (hasKey . "emptyDir") }}
{{- fail (printf "the bucket of this release has no volume (bucket.emulator.storageClass was \"-\", or an older chart found no default StorageClass), and moving it to one would lose its study; write bucket.emulator.storageClass=\"-\" to leave it without a volume, or save the study as docs/kubernetes.md describes, delete the Deployment %s, and run this upgrade again." $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
