"""The descriptor pool of the generated modules, apart from the one that a whole process shares."""

from __future__ import annotations

from google.protobuf.descriptor_pool import DescriptorPool

POOL = DescriptorPool()
