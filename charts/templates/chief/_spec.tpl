{{/* The chief's Job. It has no podFailurePolicy. With one, a chief on a lost node would not be replaced until the Node
     object is deleted. Two chiefs at the same time are harmless, because the newer one fences the older one. A chief
     with wrong settings ends its own Job. */}}
{{- define "cifake-tune.chief.spec" -}}
backoffLimit: {{ .Values.chief.backoffLimit }}
template:
  metadata:
    {{- include "cifake-tune.pod.metadata" (list . "chief") | nindent 4 }}
  spec:
    restartPolicy: Never
    {{- include "cifake-tune.pod.place" (list . (merge (dict "moveAfterSeconds" 10) .Values.chief)) | nindent 4 }}
    serviceAccountName: {{ include "cifake-tune.chief.serviceAccount" . }}
    automountServiceAccountToken: true
    {{- with .Values.chief.terminationGracePeriodSeconds }}
    terminationGracePeriodSeconds: {{ . }}
    {{- end }}
    {{- include "cifake-tune.initContainers" (list . .Values.chief 4) }}
    containers:
      - name: chief
        {{- include "cifake-tune.container" . | nindent 8 }}
        args: [chief]
        env:
          - {name: KERASTUNER_TUNER_ID, value: chief}
          - {name: KERASTUNER_ORACLE_IP, value: 0.0.0.0}
          - {name: KERASTUNER_ORACLE_PORT, value: {{ .Values.chief.port | quote }}}
          {{- if .Values.data.digest }}
          - {name: CIFAKE_TUNE_DATA, value: {{ .Values.data.digest | quote }}}
          {{- else }}
          - {name: CIFAKE_TUNE_DATA_WAIT_S, value: {{ .Values.data.timeoutSeconds | quote }}}
          {{- end }}
          - {name: CIFAKE_TUNE_EVALUATION_JOB, value: {{ include "cifake-tune.job.name" (list . "evaluator") }}}
          - name: CIFAKE_TUNE_START
            valueFrom: {fieldRef: {fieldPath: "metadata.labels['batch.kubernetes.io/controller-uid']"}}
          - name: CIFAKE_TUNE_JOB
            valueFrom: {fieldRef: {fieldPath: "metadata.labels['batch.kubernetes.io/job-name']"}}
          {{- include "cifake-tune.env.release" . | nindent 10 }}
          {{- /* the default is the program's, so that it changes no Job's name */}}
          {{- if ne (int .Values.workers.spare) 1 }}
          - {name: CIFAKE_TUNE_SPARE, value: {{ .Values.workers.spare | quote }}}
          {{- end }}
          {{- with .Values.chief.webhookSecret }}
          - name: CIFAKE_TUNE_STUDY__NOTIFY__WEBHOOK
            valueFrom: {secretKeyRef: {name: {{ . }}, key: webhook}}
          {{- end }}
          - {name: CIFAKE_TUNE_LINGER_S, value: {{ .Values.metrics.lingerSeconds | quote }}}
          {{- include "cifake-tune.env.http" . | nindent 10 }}
          {{- include "cifake-tune.env.page" . | nindent 10 }}
          {{- include "cifake-tune.env" . | nindent 10 }}
          {{- include "cifake-tune.env.tls" . | nindent 10 }}
          {{- with .Values.chief.env }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
        ports:
          - {name: grpc, containerPort: {{ .Values.chief.port }}}
          - {name: http, containerPort: {{ .Values.metrics.port }}}
          {{- if .Values.livePage.enabled }}
          - {name: page, containerPort: {{ .Values.livePage.port }}}
          {{- end }}
        {{- include "cifake-tune.probes" . | nindent 8 }}
        readinessProbe:
          httpGet: {path: /readyz, port: http}
          periodSeconds: 1
          timeoutSeconds: 6
          failureThreshold: 3
        {{- include "cifake-tune.resources" .Values.chief | nindent 8 }}
        volumeMounts:
          {{- include "cifake-tune.volumeMounts" . | nindent 10 }}
          {{- include "cifake-tune.volumeMounts.tls" . | nindent 10 }}
          {{- if and .Values.livePage.enabled .Values.livePage.tlsSecret }}
          - {name: page-tls, mountPath: /etc/cifake-tune-page-tls, readOnly: true}
          {{- end }}
    volumes:
      {{- include "cifake-tune.volumes" . | nindent 6 }}
      {{- include "cifake-tune.volumes.tls" . | nindent 6 }}
      {{- if and .Values.livePage.enabled .Values.livePage.tlsSecret }}
      - {name: page-tls, secret: {secretName: {{ .Values.livePage.tlsSecret }}, defaultMode: 0440}}
      {{- end }}
{{- end }}
