"""What the server of `forked` has ready: modules, and the synthetic images, which take a second."""
# ruff: noqa: F401

from functools import cache

import torch._dynamo

import bncore.launch.supervisor
import bncore.train.worker
import bntui.cli.bench
import bntui.cli.inspect
import bntui.cli.main
import bntui.cli.report
import bntui.cli.show
from bncore.data import resolve

resolve.synthetic_images = cache(resolve.synthetic_images)
resolve.synthetic_images(by_class=False)
