"""Every bucket path, gRPC metadata key and environment variable. No other module builds or parses them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NewType

TrialId = NewType("TrialId", str)

# ---- environment --------------------------------------------------------------------------------
ENV_BUCKET = "CIFAKE_TUNE_BUCKET"  # the same as --bucket
ENV_STUDY_FILE = "CIFAKE_TUNE_STUDY"  # the same as --study: the path of study.yaml
ENV_SETTING = "CIFAKE_TUNE_STUDY__"  # CIFAKE_TUNE_STUDY__SEARCH__MAX_TRIALS=4 sets search.max_trials
ENV_DATA = "CIFAKE_TUNE_DATA"  # digest of the packed data set in the bucket
ENV_DATA_WAIT_S = "CIFAKE_TUNE_DATA_WAIT_S"  # seconds for which the chief waits until `data prepare` names the data set
ENV_CACHE = "CIFAKE_TUNE_CACHE"  # folder for files that can be recreated (arrays unpacked for memory-mapping)
ENV_PARENT = "CIFAKE_TUNE_PARENT"  # process id of the parent `run`; this process ends when that `run` ends
ENV_TLS_CERT = "CIFAKE_TUNE_TLS_CERT"  # path of this process's certificate (PEM); for mutual TLS, set all three
ENV_TLS_KEY = "CIFAKE_TUNE_TLS_KEY"  # path of the certificate's private key (PEM)
ENV_TLS_CA = "CIFAKE_TUNE_TLS_CA"  # path of the certificate (PEM) of the authority that signs peers' certificates
ENV_TLS_NAME = "CIFAKE_TUNE_TLS_NAME"  # name in the chief's certificate, if it differs from the host in ENV_ORACLE_IP
ENV_SPARE = "CIFAKE_TUNE_SPARE"  # number of idle workers that the chief keeps when no more trials can start
ENV_EVALUATION_JOB = "CIFAKE_TUNE_EVALUATION_JOB"  # name of the suspended Job that the chief starts after the search
ENV_JOB = "CIFAKE_TUNE_JOB"  # name of the chief's own Job, which the chief ends if a retry would not help
ENV_START = "CIFAKE_TUNE_START"  # id of the chief's Job; all pods of the Job belong to the same start
ENV_RELEASE = "CIFAKE_TUNE_RELEASE"  # name of the release to which this process belongs
ENV_NAMESPACE = "CIFAKE_TUNE_NAMESPACE"  # Kubernetes namespace of that release
ENV_POD = "CIFAKE_TUNE_POD"  # name of a worker's pod, by which the chief finds out how the pod ended
ENV_GPUS = "CIFAKE_TUNE_GPUS"  # number of GPUs that a worker requested
ENV_GPU = "CIFAKE_TUNE_GPU"  # GPUs of this machine that `run` has given to a process: `GPU 0, GPU 2`
ENV_GPU_RESOURCE = "CIFAKE_TUNE_GPU_RESOURCE"  # resource by which Kubernetes counts them; default: GPU_RESOURCE
ENV_PROCESSES = "CIFAKE_TUNE_PROCESSES"  # number of worker processes in this pod, or "auto"; the same as --processes
ENV_SHARING = "CIFAKE_TUNE_SHARING"  # file in which a pod's supervisor keeps the number of its processes
ENV_REQUIRE_GPU = "CIFAKE_TUNE_REQUIRE_GPU"  # "true" makes a worker exit if it requested GPUs and finds none
ENV_IMAGE = "CIFAKE_TUNE_IMAGE"  # container image of this process; recorded in provenance.json
ENV_REVISION = "CIFAKE_TUNE_REVISION"  # commit from which the image was built; recorded in provenance.json
ENV_LOG_FORMAT = "CIFAKE_TUNE_LOG_FORMAT"  # "text", or "json" for one JSON object per line
ENV_HTTP = "CIFAKE_TUNE_HTTP"  # host:port at which this process serves metrics and health, if set
ENV_LIVE_PAGE = "CIFAKE_TUNE_LIVE_PAGE"  # host:port at which the chief serves its live page; ENV_HTTP's shares its port
ENV_LIVE_PAGE_TOKEN = "CIFAKE_TUNE_LIVE_PAGE_TOKEN"  # noqa: S105  # token that the live page asks for, if set
ENV_LIVE_PAGE_CERT = "CIFAKE_TUNE_LIVE_PAGE_CERT"  # path of the live page's certificate (PEM); for https, set both
ENV_LIVE_PAGE_KEY = "CIFAKE_TUNE_LIVE_PAGE_KEY"  # path of the certificate's private key (PEM)
ENV_QUIT_URL = "CIFAKE_TUNE_QUIT_URL"  # URL to which a process POSTs when it ends, so that a sidecar ends too
ENV_LINGER_S = "CIFAKE_TUNE_LINGER_S"  # seconds a finished chief keeps serving the study's final state
# where the object store of s3:// or az:// is; SDKs read them, too
ENV_OBJECT_STORE = ("AWS_ENDPOINT_URL", "AWS_REGION", "AZURE_STORAGE_ENDPOINT", "AZURE_STORAGE_ACCOUNT_NAME")
ENV_EMULATOR = "STORAGE_EMULATOR_HOST"  # address of a Cloud Storage emulator; Google's libraries read it, too
ENV_OF_TESTS = (  # read by our own tests
    "CIFAKE_TUNE_ARTIFACTS",
    "CIFAKE_TUNE_E2E_EARLIER_IMAGE",
    "CIFAKE_TUNE_E2E_IMAGE",
    "CIFAKE_TUNE_JAX_PYTHON",
)
ENV_TUNER_ID = "KERASTUNER_TUNER_ID"
ENV_ORACLE_IP = "KERASTUNER_ORACLE_IP"
ENV_ORACLE_PORT = "KERASTUNER_ORACLE_PORT"


@dataclass(frozen=True)
class ReleaseId:
    """The release to which a process belongs. Names of releases are unique in their namespace."""

    name: str
    namespace: str

    def __str__(self) -> str:
        """Return the release as error messages name it."""
        return f"the release {self.name!r} in the namespace {self.namespace!r}"


def parse_release(environment: Mapping[str, str]) -> ReleaseId | None:
    """Return the release in the environment of a pod; None outside a release."""
    name, namespace = environment.get(ENV_RELEASE), environment.get(ENV_NAMESPACE)
    return ReleaseId(name, namespace) if name and namespace else None


# ---- values among a trial's hyperparameters that are not in its space ---------------------------------------------
HP_PREFIX = "tuner/"
HP_EPOCHS = "tuner/epochs"  # number of epochs that the trial trains; Keras Tuner sets it for Hyperband
HP_BRACKET, HP_ROUND = "tuner/bracket", "tuner/round"  # the trial's bracket and round in Hyperband
HP_PARENT = "tuner/trial_id"  # id of the trial from whose best epoch this trial continues
HP_INITIAL_EPOCH = "tuner/initial_epoch"  # first epoch of such a trial, from 0
HP_STEPS = "tuner/steps_per_epoch"  # optimizer steps per epoch; a learning-rate schedule needs it and HP_EPOCHS


def is_hyperparameter(name: str) -> bool:
    """Return whether `name` is a hyperparameter of the space rather than one of the values above."""
    return not name.startswith(HP_PREFIX)


# ---- gRPC ---------------------------------------------------------------------------------------
LEASE_SERVICE = "cifake_tune.Lease"
METADATA_WORKER = "cifake-tune-worker"
METADATA_INCARNATION = "cifake-tune-incarnation"
METADATA_ATTEMPT = "cifake-tune-attempt"
METADATA_EPOCH = "cifake-tune-epoch"
METADATA_CHECKPOINT = "cifake-tune-checkpoint"
METADATA_FORMAT = "cifake-tune-format"  # format version of a chief that refuses a request because of a version
METADATA_SHA256 = "cifake-tune-sha256"  # hex SHA-256 of the object in METADATA_CHECKPOINT
METADATA_VERIFIED = "cifake-tune-verified"  # yes or no: whether the worker could recompute the objective
METADATA_PAUSED = "cifake-tune-paused"  # yes: the trial of the answer must not be trained further, because it is paused
METADATA_DISMISSED = "cifake-tune-dismissed"  # yes: STOPPED means that no trial is left for this worker
METADATA_START_S = "cifake-tune-start-s"  # seconds from the lease to the end of the attempt's first training step
METADATA_RETURNED = "cifake-tune-returned"  # yes: the space's own fit returned the objective


@dataclass(frozen=True)
class AttemptId:
    """A trial and an attempt at it, combined in the trial id that a stock Keras Tuner worker receives."""

    trial_id: TrialId
    attempt: int

    def __str__(self) -> str:
        """Return the id in the worker's calls and file names: `00003` at the first attempt, `00003~2` at the second."""
        return self.trial_id if self.attempt == 1 else f"{self.trial_id}~{self.attempt}"


def parse_attempt_id(text: str) -> AttemptId:
    """Return the trial and the attempt. An id without an attempt stands for the first attempt."""
    match = re.fullmatch(r"(.+)~([2-9]|[1-9][0-9]{1,5})", text)
    return AttemptId(TrialId(match[1]), int(match[2])) if match else AttemptId(TrialId(text), 1)


@dataclass(frozen=True, order=True)
class Joining:
    """When a worker's process joined: the chief's term, and a number within that term. A later one is greater."""

    term: int
    number: int


NEVER_JOINED = Joining(0, 0)


def incarnation(joining: Joining, token: str) -> str:
    """Return the incarnation, a unique id, of a process that has joined. `token` is the process's own random id."""
    return f"{joining.term}.{joining.number}.{token}"


def parse_incarnation(text: str) -> Joining:
    """Return when the process with this incarnation joined, or NEVER_JOINED if the text does not contain that."""
    match = re.match(r"([0-9]{1,15})\.([0-9]{1,15})\.", text)
    return Joining(int(match[1]), int(match[2])) if match else NEVER_JOINED


# ---- HTTP ---------------------------------------------------------------------------------------
HTTP_METRICS = "/metrics"
HTTP_HEALTHY = "/healthz"
HTTP_READY = "/readyz"
HTTP_PAGE = "/"
HTTP_OVERVIEW = "/overview.json"
HTTP_TRIALS = "/trials.json"
HTTP_TRIAL = "/trial.json"


# ---- bucket: data -------------------------------------------------------------------------------
MANIFEST = "manifest.json"
DATA_PREFIX = "data/"


OWN_DATA = "own"
"""Recorded instead of a data set's digest by a study whose space brings its own data (`data.own`)."""


def data_prefix(digest: str) -> str:
    """Return the folder of a packed data set. `digest` is the hex SHA-256 that names the data set."""
    return f"{DATA_PREFIX}{digest}/"


def manifest(digest: str) -> str:
    """Return the name of a manifest. It is written last, so a data set that has a manifest is complete."""
    return f"{data_prefix(digest)}{MANIFEST}"


def shard(digest: str, split: str, index: int) -> str:
    """Return the name of a shard of images of `split` ("train" or "test")."""
    return f"{data_prefix(digest)}{split}-{index:05d}.npy"


def prepared(study: str) -> str:
    """Return the name of the note in which `data prepare` records the data set of a study."""
    return f"{DATA_PREFIX}prepared/{study}.json"


def parse_manifest(name: str) -> str | None:
    """Return the data set's digest if `name` is the name of a manifest."""
    match = re.fullmatch(rf"data/([0-9a-f]{{64}})/{re.escape(MANIFEST)}", name)
    return match[1] if match else None


# ---- bucket: studies ----------------------------------------------------------------------------
STUDIES_PREFIX = "studies/"


def study_prefix(study: str) -> str:
    """Return the folder of a study."""
    return f"{STUDIES_PREFIX}{study}/"


def journal_prefix(study: str) -> str:
    """Return the folder of the study's journal."""
    return f"{study_prefix(study)}journal/"


def journal_segment(study: str, number: int) -> str:
    """Return the name of a segment of the journal. Segments are numbered from 1 without gaps."""
    return f"{journal_prefix(study)}{number:010d}.jsonl"


def parse_journal_segment(name: str) -> int | None:
    """Return the segment's number if `name` is the name of a journal segment."""
    match = re.fullmatch(r"studies/[^/]+/journal/(\d{10})\.jsonl", name)
    return int(match[1]) if match else None


def chief_end(study: str, release: ReleaseId) -> str:
    """Return the name of the note in which the chief of a release records why it has ended for good."""
    return f"{study_prefix(study)}chiefs/{release.namespace}/{release.name}.json"


def control_prefix(study: str) -> str:
    """Return the folder of the users' requests that the chief has not handled."""
    return f"{study_prefix(study)}control/"


def request_id(time_ns: int, token: str) -> str:
    """Return the id of a request. Ids sort requests by time, in nanoseconds since 1970; `token` is a random text."""
    return f"{time_ns:020d}-{token}"


def control_request(study: str, request: str) -> str:
    """Return the name of a request. `request` is its id."""
    return f"{control_prefix(study)}{request}.json"


def parse_control_request(name: str) -> str | None:
    """Return the id if `name` is the name of a request."""
    match = re.fullmatch(r"studies/[^/]+/control/(\d{20}-[0-9a-f]+)\.json", name)
    return match[1] if match else None


def notifications_prefix(study: str) -> str:
    """Return the folder of the notes about what was sent to notify.webhook."""
    return f"{study_prefix(study)}notifications/"


def notification(study: str, term: int, end: str) -> str:
    """Return the name of the note that an end of the study in this term has been announced."""
    return f"{notifications_prefix(study)}{term:06d}-{end}.json"


def snapshots_prefix(study: str) -> str:
    """Return the folder of the study's snapshots."""
    return f"{study_prefix(study)}snapshots/"


def snapshot(study: str, number: int) -> str:
    """Return the name of the snapshot of the study's state after the journal's segment `number`."""
    return f"{snapshots_prefix(study)}{number:010d}.json"


def parse_snapshot(name: str) -> int | None:
    """Return the segment's number if `name` is the name of a snapshot."""
    match = re.fullmatch(r"studies/[^/]+/snapshots/(\d{10})\.json", name)
    return int(match[1]) if match else None


def trials_prefix(study: str) -> str:
    """Return the folder of the checkpoints of all trials."""
    return f"{study_prefix(study)}trials/"


def trial_prefix(study: str, trial_id: str) -> str:
    """Return the folder of one trial's checkpoints."""
    return f"{trials_prefix(study)}{trial_id}/"


def checkpoint(study: str, trial_id: str, attempt: int, epoch: int) -> str:
    """Return the name of the checkpoint after `epoch` (from 0) of an attempt at a trial."""
    return f"{trial_prefix(study, trial_id)}{attempt}/{epoch:05d}.keras"


@dataclass(frozen=True)
class CheckpointName:
    """The trial, the attempt and the epoch in the name of a checkpoint."""

    trial_id: TrialId
    attempt: int
    epoch: int


def parse_checkpoint(name: str) -> CheckpointName | None:
    """Return the parts of `name` if it is the name of a checkpoint."""
    match = re.fullmatch(r"studies/[^/]+/trials/([^/]+)/([1-9]\d*)/(\d{5,})\.keras", name)
    return CheckpointName(TrialId(match[1]), int(match[2]), int(match[3])) if match else None


def logs_prefix(study: str, trial_id: str = "") -> str:
    """Return the folder of all logs, or of one trial's logs. Logs are never deleted."""
    return f"{study_prefix(study)}logs/{trial_id}{'/' if trial_id else ''}"


def attempt_log(study: str, trial_id: str, attempt: int, part: int) -> str:
    """Return the name of a part (from 0) of an attempt's log. There are parts because GCS objects cannot grow."""
    return f"{logs_prefix(study, trial_id)}{attempt}/{part:05d}.log"


@dataclass(frozen=True)
class AttemptLogName:
    """The trial, the attempt and the part in the name of a part of a log."""

    trial_id: TrialId
    attempt: int
    part: int


def parse_attempt_log(name: str) -> AttemptLogName | None:
    """Return the parsed `name` if it is the name of a part of a log."""
    match = re.fullmatch(r"studies/[^/]+/logs/([^/]+)/([1-9]\d*)/(\d{5,})\.log", name)
    return AttemptLogName(TrialId(match[1]), int(match[2]), int(match[3])) if match else None


def tensorboard_prefix(study: str) -> str:
    """Return the folder to open with TensorBoard."""
    return f"{study_prefix(study)}tensorboard/"


def tensorboard_events(study: str, trial_id: str) -> str:
    """Return the name of a trial's event file. TensorBoard reads all files that have `tfevents` in their names."""
    return f"{tensorboard_prefix(study)}{trial_id}/events.out.tfevents.{trial_id}"


def parse_tensorboard_events(name: str) -> TrialId | None:
    """Return the trial's id if `name` is the name of an event file."""
    match = re.fullmatch(r"studies/[^/]+/tensorboard/([^/]+)/events\.out\.tfevents\.\1", name)
    return TrialId(match[1]) if match else None


def evaluation(study: str, file: str = "") -> str:
    """Return the name of a file of the study's evaluation, or the evaluation's folder."""
    return f"{study_prefix(study)}evaluation/{file}"


METRICS_JSON = "metrics.json"
PREDICTIONS_CSV = "predictions.csv.gz"
CONFUSION_JSON = "confusion_matrix.json"
CONFUSION_PNG = "confusion_matrix.png"
BEST_MODEL = "best_model.keras"
CALIBRATION_PNG = "calibration.png"
ROBUSTNESS_PNG = "robustness.png"
ROBUSTNESS_SAMPLES_PNG = "robustness_samples.png"  # one row per class, one column per corruption
MOST_WRONG_PNG = "most_wrong.png"  # the images are in the order of metrics.json
PROVENANCE_JSON = "provenance.json"
MODEL_CARD = "model_card.md"
REPORT_HTML = "report.html"
OUTPUT_TXT = "output.txt"  # what a script printed after its search

# ---- Kubernetes: labels that the chart sets on a release's objects, and Kubernetes on pods of an Indexed Job --------
APPLICATION = "cifake-tune"
LABEL_NAME = "app.kubernetes.io/name"
LABEL_RELEASE = "app.kubernetes.io/instance"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_JOB_INDEX = "batch.kubernetes.io/job-completion-index"
LABEL_QUEUE = "kueue.x-k8s.io/queue-name"
GPU_RESOURCE = "nvidia.com/gpu"
ANNOTATION_PARALLELISM = "cifake-tune/parallelism"  # of the workers' Job while it has no pods: its number of pods


def probe_object(token: str) -> str:
    """Return the name of an object that `doctor` or a chief creates and deletes to check the bucket."""
    return f"doctor/{token}"
