"""A Faster R-CNN that a CPU trains in minutes: six residual blocks, a feature pyramid, anchors as in ICLR A.9.

A.9 scales images to a shorter side of 300 and has anchors of 64^2, 128^2 and 256^2 pixels in three ratios; the anchors
here are scaled with the images, and each of the three has a level of the pyramid to itself, as torchvision wants it.
"""

from collections import OrderedDict

from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from onepixel.architectures.resnet8 import BasicBlock
from onepixel.boxes.table import DETECTOR_ARCHITECTURES, DetectorArchitecture

PAPER_SIDE = 300
PAPER_ANCHORS = (64, 128, 256)
RATIOS = (0.5, 1.0, 2.0)
CHANNELS = 64
"""Channels of the pyramid, hence of a region's features."""


class SmallBody(nn.Module):
    """A strided convolution and six residual blocks of 32, 64 and 128 maps; the last two widths are given out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.quarter = nn.Sequential(BasicBlock(32, 32, 2), BasicBlock(32, 32, 1))
        self.eighth = nn.Sequential(BasicBlock(32, 64, 2), BasicBlock(64, 64, 1))
        self.sixteenth = nn.Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))

    def forward(self, images: Tensor) -> "OrderedDict[str, Tensor]":
        """Maps of stride 8 and 16 of images (N, 3, H, W)."""
        eighth = self.eighth(self.quarter(self.stem(images)))
        return OrderedDict([("0", eighth), ("1", self.sixteenth(eighth))])


class SmallBackbone(nn.Module):
    """The body with a feature pyramid of three levels, strides 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.body = SmallBody()
        self.fpn = FeaturePyramidNetwork([64, 128], CHANNELS, LastLevelMaxPool())
        self.out_channels = CHANNELS

    def forward(self, images: Tensor) -> "OrderedDict[str, Tensor]":
        """The pyramid's levels of images (N, 3, H, W)."""
        levels: OrderedDict[str, Tensor] = self.fpn(self.body(images))
        return levels


def small_network(outputs: int, shorter_side: int) -> FasterRCNN:
    """A freshly initialised detector whose anchors are scaled with its images."""
    sizes = tuple((round(side * shorter_side / PAPER_SIDE),) for side in PAPER_ANCHORS)
    return FasterRCNN(
        SmallBackbone(),
        num_classes=None,
        min_size=shorter_side,
        max_size=2 * shorter_side,
        rpn_anchor_generator=AnchorGenerator(sizes, (RATIOS,) * len(sizes)),
        rpn_pre_nms_top_n_train=200,
        rpn_pre_nms_top_n_test=100,
        rpn_post_nms_top_n_train=100,
        rpn_post_nms_top_n_test=40,
        rpn_batch_size_per_image=64,
        box_roi_pool=MultiScaleRoIAlign(["0", "1"], output_size=7, sampling_ratio=2),
        box_head=TwoMLPHead(CHANNELS * 7**2, 256),
        box_predictor=predictor(256, outputs),
        box_batch_size_per_image=32,
        box_positive_fraction=0.4,
        box_detections_per_img=20,
        box_score_thresh=0.05,
    )


def predictor(features: int, outputs: int) -> nn.Module:
    """Torchvision's last layers: scores and box offsets for each output."""
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor

    module: nn.Module = FastRCNNPredictor(features, outputs)
    return module


DETECTOR_ARCHITECTURES.add(DetectorArchitecture("fasterrcnn_small_fpn", small_network, 128))
