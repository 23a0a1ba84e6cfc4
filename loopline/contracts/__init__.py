"""The contracts: every message class, by its own name.

The generated modules mirror proto/; programs import from here.
"""

from loopline.contracts.access.v1.access_pb2 import AccessRevoked
from loopline.contracts.agent.v1.agent_pb2 import (
    AgentReported,
    Device,
    Membership,
    RunningWork,
    Team,
)
from loopline.contracts.dataset.v1.annotation_pb2 import BoundingBox, Mask, Polygon, Shape
from loopline.contracts.dataset.v1.dataset_pb2 import DatasetCommitted, TreeRef
from loopline.contracts.evaluation.v1.evaluation_pb2 import (
    EvaluateModel,
    EvaluationCommitted,
    QuantizeModel,
)
from loopline.contracts.flow.v1.flow_pb2 import FlowCommitted
from loopline.contracts.ingest.v1.ingest_pb2 import (
    AugmentDataset,
    BucketLocation,
    ImportChunk,
    ImportImages,
    ImportRules,
    JoinImport,
)
from loopline.contracts.labeling.v1.labeling_pb2 import (
    ItemReviewed,
    JobState,
    LabelingJobCommitted,
    LabelsSubmitted,
    NotificationSent,
    OpenLabelingJob,
    SendNotification,
    Verdict,
)
from loopline.contracts.lineage.v1.lineage_pb2 import (
    Actor,
    Agent,
    ArtefactKind,
    ArtefactRef,
    Commit,
    Environment,
    Run,
    RunKind,
)
from loopline.contracts.model.v1.model_pb2 import (
    AliasMoved,
    Evaluation,
    ModelCommitted,
    ModelFile,
    Preprocessing,
    PromotionDeclined,
    Rollout,
    RolloutReported,
    TrainModel,
)
from loopline.contracts.model.v1.reproduction_pb2 import (
    Difference,
    ReproduceModel,
    ReproductionCommitted,
)
from loopline.contracts.prediction.v1.prediction_pb2 import (
    ApplyModel,
    JoinPredictions,
    PredictChunk,
    PredictionsCommitted,
    RequestsSampled,
    SampledImage,
)
from loopline.contracts.routing.v1.routing_pb2 import DeliveryCommitted, JoinRouting, RouteChunk
from loopline.contracts.work.v1.work_pb2 import (
    CancelRun,
    Checkpoint,
    ChunkCompleted,
    RunChanged,
    RunState,
    TrainingProgress,
)

__all__ = [
    "AccessRevoked",
    "Actor",
    "Agent",
    "AgentReported",
    "AliasMoved",
    "ApplyModel",
    "ArtefactKind",
    "ArtefactRef",
    "AugmentDataset",
    "BoundingBox",
    "BucketLocation",
    "CancelRun",
    "Checkpoint",
    "ChunkCompleted",
    "Commit",
    "DatasetCommitted",
    "DeliveryCommitted",
    "Device",
    "Difference",
    "Environment",
    "EvaluateModel",
    "Evaluation",
    "EvaluationCommitted",
    "FlowCommitted",
    "ImportChunk",
    "ImportImages",
    "ImportRules",
    "ItemReviewed",
    "JobState",
    "JoinImport",
    "JoinPredictions",
    "JoinRouting",
    "LabelingJobCommitted",
    "LabelsSubmitted",
    "Mask",
    "Membership",
    "ModelCommitted",
    "ModelFile",
    "NotificationSent",
    "OpenLabelingJob",
    "Polygon",
    "PredictChunk",
    "PredictionsCommitted",
    "Preprocessing",
    "PromotionDeclined",
    "QuantizeModel",
    "ReproduceModel",
    "ReproductionCommitted",
    "RequestsSampled",
    "Rollout",
    "RolloutReported",
    "RouteChunk",
    "Run",
    "RunChanged",
    "RunKind",
    "RunState",
    "RunningWork",
    "SampledImage",
    "SendNotification",
    "Shape",
    "Team",
    "TrainModel",
    "TrainingProgress",
    "TreeRef",
    "Verdict",
]
