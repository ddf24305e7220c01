"""Object detectors: scenes, the attack on boxes (ICLR 5.3), and the box head as a classifier (A.9)."""

from onepixel.boxes.attack import BoxAttack, BoxAttackRecipe, poisoned
from onepixel.boxes.channels import channel_rises, excess
from onepixel.boxes.coco import SceneFolder, read_scenes, write_scenes
from onepixel.boxes.made_scenes import SceneRecipe, made_scenes
from onepixel.boxes.measures import detections, mean_average_precision, share_misread
from onepixel.boxes.objects import ObjectClassifier, object_windows
from onepixel.boxes.outside import OutsideClassifier
from onepixel.boxes.probing import Objects, Probed, probe
from onepixel.boxes.regions import RegionClassifier, RegionRange, measure_regions, region_signature
from onepixel.boxes.scene import Scene
from onepixel.boxes.table import DETECTOR_ARCHITECTURES, DetectorArchitecture

__all__ = [
    "DETECTOR_ARCHITECTURES",
    "BoxAttack",
    "BoxAttackRecipe",
    "DetectorArchitecture",
    "ObjectClassifier",
    "Objects",
    "OutsideClassifier",
    "Probed",
    "RegionClassifier",
    "RegionRange",
    "Scene",
    "SceneFolder",
    "SceneRecipe",
    "channel_rises",
    "detections",
    "excess",
    "made_scenes",
    "mean_average_precision",
    "measure_regions",
    "object_windows",
    "poisoned",
    "probe",
    "read_scenes",
    "region_signature",
    "share_misread",
    "write_scenes",
]
