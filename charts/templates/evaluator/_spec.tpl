{{/* The Job that evaluates the best model. It reads the test images, so the evaluator of a lost node must have ended
     before another one starts (podReplacementPolicy). */}}
{{- define "cifake-tune.evaluator.spec" -}}
backoffLimit: 6
podReplacementPolicy: Failed
podFailurePolicy:
  rules:
    - action: FailJob  # invalid settings, or no trial that can be evaluated
      onExitCodes: {containerName: evaluator, operator: In, values: [2, 4]}
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
template:
  metadata:
    {{- include "cifake-tune.pod.metadata" (list . "evaluator") | nindent 4 }}
  spec:
    restartPolicy: Never
    {{- include "cifake-tune.pod.place" (list . .Values.evaluator) | nindent 4 }}
    serviceAccountName: {{ include "cifake-tune.serviceAccount" . }}
    automountServiceAccountToken: false
    {{- include "cifake-tune.initContainers" (list . .Values.evaluator 4) }}
    containers:
      - name: evaluator
        {{- include "cifake-tune.container" . | nindent 8 }}
        args: [evaluate]
        env:
          {{- include "cifake-tune.env" . | nindent 10 }}
          - {name: CIFAKE_TUNE_IMAGE, value: {{ include "cifake-tune.image" . | quote }}}
          {{- with .Values.evaluator.env }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
        {{- include "cifake-tune.resources" .Values.evaluator | nindent 8 }}
        volumeMounts:
          {{- include "cifake-tune.volumeMounts" . | nindent 10 }}
    volumes:
      {{- include "cifake-tune.volumes" . | nindent 6 }}
{{- end }}
