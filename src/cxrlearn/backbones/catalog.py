"""The table of backbones that cxrlearn knows by name, in the order in which they are listed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cxrlearn.backbones.records.clip import CHEXZERO
from cxrlearn.backbones.records.gloria import GLORIA
from cxrlearn.backbones.records.refers import REFERS
from cxrlearn.backbones.records.resnets import CONVIRT, MEDAUG, MOCOCXR, RESNET
from cxrlearn.backbones.records.s2mts2 import S2MTS2
from cxrlearn.backbones.tiny_record import CXR_TINY

if TYPE_CHECKING:
    from cxrlearn.backbones.spec import BackboneSpec

CATALOG: tuple[BackboneSpec, ...] = (
    MEDAUG,
    CHEXZERO,
    REFERS,
    CONVIRT,
    S2MTS2,
    GLORIA,
    MOCOCXR,
    RESNET,
    CXR_TINY,
)
