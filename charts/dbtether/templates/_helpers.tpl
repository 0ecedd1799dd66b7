{{- define "dbtether.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "dbtether.selectorLabels" -}}
app.kubernetes.io/name: dbtether
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "dbtether.labels" -}}
{{ include "dbtether.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "dbtether.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "dbtether.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "dbtether.jobServiceAccountName" -}}
{{- if .Values.jobs.serviceAccount.create -}}
{{- .Values.jobs.serviceAccount.name | default (printf "%s-job" (include "dbtether.fullname" .)) -}}
{{- else -}}
{{- .Values.jobs.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "dbtether.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end -}}

{{/* What the Pods of Jobs are made from, a PodTemplateSpec; the operator adds what each of them is for. */}}
{{- define "dbtether.jobTemplate" -}}
metadata:
  labels:
    app.kubernetes.io/instance: {{ .Release.Name }}
    {{- with .Values.jobs.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.jobs.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "dbtether.jobServiceAccountName" . }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.podSecurityContext }}
  securityContext: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.jobs.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.jobs.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.jobs.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.jobs.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: job
      image: {{ include "dbtether.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      {{- with .Values.jobs.extraEnv }}
      env: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.jobs.resources }}
      resources: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with .Values.securityContext }}
      securityContext: {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        {{- if .Values.localStorage.volume }}
        - name: local-storage
          mountPath: {{ .Values.localStorage.path }}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    {{- with .Values.localStorage.volume }}
    - name: local-storage
      {{- toYaml . | nindent 6 }}
    {{- end }}
{{- end -}}

{{- define "dbtether.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "dbtether.serviceAccountName" . }}
    namespace: {{ .Release.Namespace }}
{{- end -}}

{{/* What the operator does in the namespaces that it serves. */}}
{{- define "dbtether.servedRules" -}}
- apiGroups: [dbtether.io]
  resources: [databases, databaseusers, backups, backupschedules, restores]
  verbs: [get, list, watch, patch]
- apiGroups: [dbtether.io]
  resources: [databases/status, databaseusers/status, backups/status, backupschedules/status, restores/status]
  verbs: [update]
# Where the API server checks who may block an owner's deletion: of Secrets, Backups and restore drills.
- apiGroups: [dbtether.io]
  resources: [databaseusers/finalizers, backupschedules/finalizers]
  verbs: [update]
# A BackupSchedule makes Backups and restore drills, and takes them away.
- apiGroups: [dbtether.io]
  resources: [backups, restores]
  verbs: [create, delete]
# The credentials of DatabaseUsers.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, update, delete]
{{ include "dbtether.eventRules" . }}
{{- end -}}

{{/* What happened to a resource is told beside it; of a cluster-scoped one in the namespace default. */}}
{{- define "dbtether.eventRules" -}}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{/* What the operator does whatever it serves: cluster-scoped resources, and the labels of namespaces. */}}
{{- define "dbtether.clusterRules" -}}
- apiGroups: [dbtether.io]
  resources: [dbclusters, backupstorages]
  verbs: [get, list, watch, patch]
- apiGroups: [dbtether.io]
  resources: [dbclusters/status, backupstorages/status]
  verbs: [update]
- apiGroups: [""]
  resources: [namespaces]
  {{- if .Values.watchNamespaces }}
  resourceNames: [{{ concat (list "kube-system") .Values.watchNamespaces | uniq | join ", " }}]
  {{- end }}
  verbs: [get, list, watch]
{{- if .Values.webhook.enabled }}
# To write the CA of its own certificate where the API server looks for it.
- apiGroups: [admissionregistration.k8s.io]
  resources: [validatingwebhookconfigurations]
  resourceNames: [{{ include "dbtether.fullname" . }}]
  verbs: [get, patch]
{{- end }}
{{- end -}}

{{/* What the operator does in its own namespace. */}}
{{- define "dbtether.ownRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, create, update]
# The installation's identity and keys, and the logins of backup and restore Jobs.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, update, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
# Why a Job's Pod does not start.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [list]
{{- end -}}
