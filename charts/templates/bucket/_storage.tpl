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
