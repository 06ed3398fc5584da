{{/* The Job that packs the study's data unless the bucket already contains it. */}}
{{- define "cifake-tune.data.spec" -}}
backoffLimit: 6
podReplacementPolicy: Failed
podFailurePolicy:
  rules:
    - action: FailJob  # invalid data or settings
      onExitCodes: {containerName: data, operator: In, values: [2]}
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
template:
  metadata:
    {{- include "cifake-tune.pod.metadata" (list . "data") | nindent 4 }}
  spec:
    restartPolicy: Never
    {{- include "cifake-tune.pod.place" (list . .Values.data) | nindent 4 }}
    serviceAccountName: {{ include "cifake-tune.serviceAccount" . }}
    automountServiceAccountToken: false
    {{- include "cifake-tune.initContainers" (list . .Values.data 4) }}
    containers:
      - name: data
        {{- include "cifake-tune.container" . | nindent 8 }}
        args: [data, prepare]
        env:
          {{- include "cifake-tune.env" . | nindent 10 }}
          {{- with .Values.data.env }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
        {{- include "cifake-tune.resources" .Values.data | nindent 8 }}
        volumeMounts:
          {{- include "cifake-tune.volumeMounts" . | nindent 10 }}
    volumes:
      {{- include "cifake-tune.volumes" . | nindent 6 }}
{{- end }}
