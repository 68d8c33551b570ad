"""The tables of a spec, every field documented. `bncore.config.model` has their names too, and adds `Spec`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag

from bncore.config.base import (
    LARGEST,
    ConfigModel,
    Count,
    Flag,
    Fraction,
    NonNegative,
    NonNegativeCount,
    Positive,
    Text,
    canonical_device,
    canonical_norm,
    canonical_precision,
)
from bncore.config.probes import Probes


class ImageData(ConfigModel):
    """Images with class labels, kept on the device as uint8."""

    source: Literal["auto", "cifar10", "folder", "synthetic"] = "auto"
    """Where the images come from. `auto` is resolved once, before any run starts: CIFAR-10 on disk, else a
    download with a short time limit, else the synthetic set. A resolved spec never says `auto`."""
    path: Text | None = None
    """Folder holding `cifar-10-batches-py` or `train/<class>/*` and `test/<class>/*` (`val` where there is no
    `test`); default: the cache. Pictures are read as 8-bit RGB: the first frame, upright as EXIF says, transparent
    pixels on white, 16-bit gray rescaled, color profiles ignored."""
    augment: Flag = False
    """Random crop (padding 4 pixels) and horizontal flip of training batches, drawn from keyed generators."""
    standardize: Literal["dataset", "image"] = "dataset"
    """Pixels become numbers by the training set's mean and standard deviation of each channel, or, after
    augmentation, by each picture's own over all its pixels and channels, as TensorFlow's per_image_standardization
    of pixels from 0 to 255: (x - mean) / max(std, 1 / sqrt(n)), with n values per picture."""
    image_size: Annotated[int, Field(ge=1, le=4096, strict=True)] | None = None
    """For a folder of pictures: their shorter side is resized to this many pixels (bilinear, antialiased),
    and the central square is used. Default: unchanged, all of one size. A VGG needs 32."""
    background: Literal["any", "by_class"] = "any"
    """Of the synthetic images: blotches of any color, or blotches whose color hints at the class.
    With `any` a linear classifier is at chance, and a deep network without a norm stays on its plateau for far
    longer than on CIFAR-10; with `by_class` a linear classifier reaches 48 % (on CIFAR-10 about 40 %)."""
    fingerprint: Text | None = None
    """SHA-256 of the decoded arrays, filled in when the source is resolved; a mismatch refuses to train."""


class GaussianData(ConfigModel):
    """Gaussian regression x -> A x with x i.i.d. N(0, 1) (Santurkar et al., 2018, section 2.2)."""

    source: Literal["gaussian"] = "gaussian"
    """Drawn, not read."""
    samples: Count = 1000
    """Number of training samples."""
    features: Count = 10
    """Dimension of x and of A x."""
    teacher: Literal["gaussian", "uniform"] = "gaussian"
    """The entries of A, i.i.d. N(0, 1) or U(0, 1), what `rand` gives. The text of Santurkar et al. (2018, section
    2.2) says N(0, 1); its figures fit U(0, 1) [inferred]: with a Gaussian A the paper's losses from step 50 on lie
    below all of 200 seeds."""
    fingerprint: Text | None = None
    """SHA-256 of the generated arrays; default: not checked, since the seed determines them."""


VGG_SIDE = 32
"""Pixels along each side of the images that a VGG takes."""

_CONVOLUTIONS = {"vgg11": 8, "vgg13": 10, "vgg16": 13, "vgg19": 16}


class Network(ConfigModel):
    """What all networks have."""

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of its layers, in their order; none where all are of one kind."""
        return ()


class VGG(Network):
    """VGG for 32x32 images (Simonyan & Zisserman, 2015): 3x3 convolutions, five poolings, a linear head."""

    kind: Literal["vgg11", "vgg13", "vgg16", "vgg19"] = "vgg16"
    """Which of the four layer tables."""
    width: Annotated[float, Field(gt=0, le=64, strict=True)] = 1.0
    """Multiplier on every channel count and hidden head width, rounded to at least 1."""
    head: tuple[Count, ...] = ()
    """Widths of hidden linear layers between the last pooling and the classifier; default: none."""

    @property
    def layers(self) -> int:
        """How many layers it has; they are numbered from 1."""
        return len(self.layer_names)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """``conv1``, ``conv2``, …, and of linear layers ``fc1``, …"""
        counts = {"conv": _CONVOLUTIONS[self.kind], "fc": len(self.head) + 1}
        return tuple(f"{kind}{n}" for kind, count in counts.items() for n in range(1, count + 1))


class DLN(Network):
    """Deep linear network of square layers (Santurkar et al., 2018, section 2.2): no activation function."""

    kind: Literal["dln"] = "dln"
    """Deep linear network."""
    depth: Count = 25
    """Number of linear layers."""
    width: Count = 10
    """Width of every hidden layer."""
    normalise_last: Flag = False
    """Whether the last layer is followed by a normalization too."""

    @property
    def layers(self) -> int:
        """How many layers it has."""
        return self.depth


class MLP(Network):
    """Multilayer perceptron with ReLU; images are flattened."""

    kind: Literal["mlp"] = "mlp"
    """Multilayer perceptron."""
    hidden: tuple[Count, ...] = (512, 512)
    """Widths of the hidden layers."""

    @property
    def layers(self) -> int:
        """How many layers it has."""
        return len(self.hidden) + 1


class Norm(ConfigModel):
    """What stands at every norm position; switchable between two steps."""

    kind: Annotated[str, BeforeValidator(canonical_norm)] = "batch"
    """none, batch, l1, l2, linf, lp:<p> with p >= 1, layer, group, instance, weight, or an ablation of batch:
    mean_only, variance_only, batch_detached (no gradient through the statistics), batch_population."""
    centred: Flag = False
    """For l_p kinds: take the l_p scale of y - mean(y) instead of the paper's uncentred y (section 3.3)."""
    fused: Flag = False
    """For l_p kinds, not centred, on a GPU: by kernels that pass over memory as often as torch's batch norm
    (Triton; `bncore.nets.lp_fused`). They add in another order, so digests differ from those without."""
    groups: Count = 8
    """For `group`: number of groups of channels in each layer (where they divide evenly; else
    the largest divisor of the channel count below it)."""
    eps: Positive = 1e-5
    """Constant added inside the root of the scale."""
    momentum: Annotated[float, Field(gt=0, le=1, strict=True)] = 0.1
    """Weight of the newest batch in the running statistics, as in torch.nn.BatchNorm2d."""
    affine: Literal["learned", "frozen"] = "learned"
    """Whether gamma and beta are trained, or stay at 1 and 0."""
    bias: Flag = True
    """Whether kind `none` adds beta as the layer's bias. False gives the bias-free maps of the DLN."""


class Noise(ConfigModel):
    """Algorithm 1 of Santurkar et al. (2018): per-step, per-unit mean and scale, then per-sample draws."""

    on: Flag = False
    """Whether noise is injected."""
    n_mu: NonNegative = 0.5
    """mu_j ~ U(-n_mu, n_mu), each step, each unit j."""
    n_sigma: Annotated[float, Field(ge=1, le=LARGEST, allow_inf_nan=False, strict=True)] = 1.25
    """sigma_j ~ U(1, n_sigma), each step, each unit j."""
    r_mu: NonNegative = 0.1
    """m_ij ~ U(mu_j - r_mu, mu_j + r_mu), each sample (and position) i."""
    r_sigma: NonNegative = 0.1
    """s_ij ~ N(sigma_j, r_sigma), a standard deviation, each sample (and position) i."""
    position: Literal["after_norm", "before_norm", "input", "last_norm"] = "after_norm"
    """Where: on every norm position's output (after gamma and beta), on its input, on the network's input
    only, or on the last norm position's output only."""
    amplitude: Literal["absolute", "relative"] = "absolute"
    """`relative` multiplies the additive part m by the unit's standard deviation in this batch."""
    in_eval: Flag = False
    """Whether noise is also injected in evaluation."""


class Init(ConfigModel):
    """Initialization of the weights."""

    scheme: Literal["glorot", "he", "he_fan_out", "orthogonal"] = "glorot"
    """Glorot & Bengio (2010), He et al. (2015) by fan-in, or Saxe et al. (2014). he_fan_out: convolutions normal
    with variance 2 / (k^2 c_out) (He et al., 2015), linear layers uniform with variance 1 / fan_in: TensorFlow's
    CIFAR-10 ResNet, widely copied at the time, begins so, and the paper's VGG figures fit it [inferred]."""
    distribution: Literal["uniform", "normal"] = "uniform"
    """For glorot and he: the distribution, at the scheme's variance; he_fan_out and orthogonal have their own."""


class Schedule(ConfigModel):
    """The learning rate as a function of the step."""

    kind: Literal["constant", "step", "cosine"] = "constant"
    """Constant, multiplied by `factor` at each milestone, or a half cosine from lr to 0 at the last step."""
    milestones: tuple[Count, ...] = ()
    """For `step`: the steps at which the learning rate is multiplied."""
    factor: Positive = 0.1
    """For `step`: the multiplier."""
    warmup: NonNegativeCount = 0
    """Number of steps over which the learning rate rises linearly from lr/warmup to lr."""


class Optim(ConfigModel):
    """The optimizer."""

    kind: Literal["sgd", "adam"] = "sgd"
    """Stochastic gradient descent, or Adam (Kingma & Ba, 2015)."""
    lr: NonNegative = 0.1
    """Learning rate before the schedule."""
    momentum: Fraction = 0.0
    """For sgd: momentum coefficient."""
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """For adam: decay rates of the two moments."""
    eps: Positive = 1e-8
    """For adam: added to the denominator."""
    weight_decay: NonNegative = 0.0
    """L2 coefficient wd: the penalty (wd/2)*||theta||^2 joins the loss."""
    decay: Literal["all", "weights"] = "all"
    """Which trained parameters the penalty acts on: all, or the layers' weights alone (of convolutions and linear
    maps: no bias, gamma or beta)."""
    relative_update: NonNegative = 0.0
    """Relative length ||dW|| / ||W|| that each layer's weight update is rescaled to, times the schedule's factor
    at the step: a control for the size of the updates. 0: the update as the optimizer made it."""
    schedule: Schedule = Schedule()
    """How lr changes with the step."""


class Loss(ConfigModel):
    """The training loss, journaled apart from the weight penalty."""

    kind: Literal["cross_entropy", "squared_error"] = "cross_entropy"
    """Softmax cross-entropy of class labels, or squared error of regression targets."""
    reduction: Literal["mean", "sum", "half_sum"] = "mean"
    """Over samples (and output dimensions): mean, sum, or half the sum."""


class Evaluation(ConfigModel):
    """Whole-set losses and accuracies in evaluation mode."""

    every: NonNegativeCount = 100
    """Interval in steps, with one evaluation at the end; 0: at the end only."""
    train_samples: NonNegativeCount = 2000
    """How many training samples (the first of them as stored); 0: all."""
    test_samples: NonNegativeCount = 0
    """How many test samples; 0: all."""
    batch_size: Count = 500
    """Samples in one forward pass."""


class Checkpoints(ConfigModel):
    """When the whole training state is written."""

    every_steps: NonNegativeCount = 0
    """Interval in steps; 0: not by steps."""
    every_minutes: NonNegative = 5.0
    """Interval in minutes of wall-clock time; 0: not by time."""
    keep: Count = 2
    """How many of the newest are kept, besides the requested ones."""


class TaggedUnion:
    """The shapes of one table and the key that tells them apart; the first shape is the default.

    Several tag values may mean the same shape (vgg11 and vgg16), so a change of tag within a shape keeps the
    other keys and a change across shapes does not.
    """

    def __init__(self, tag: str, *shapes: type[BaseModel]) -> None:
        self.tag = tag
        self.shapes = shapes
        self.values = tuple(v for shape in shapes for v in get_args(shape.model_fields[tag].annotation))

    def shape_of(self, value: object) -> str | None:
        """Name of the shape that `value` (a table or a model) has; None where its tag is none of `values`."""
        if isinstance(value, Mapping):
            tag: Any = value.get(self.tag, self.shapes[0].model_fields[self.tag].default)
        else:
            tag = getattr(value, self.tag, None)
        for shape in self.shapes:
            if tag in get_args(shape.model_fields[self.tag].annotation):
                return shape.__name__
        return None

    def states_other_shape(self, table: object, current: object) -> bool:
        """Whether `table` names a tag whose shape differs from the one that the table `current` has."""
        if not isinstance(table, Mapping) or self.tag not in table:
            return False
        return self.shape_of(table) != self.shape_of(current)


CHOICES = {"data": TaggedUnion("source", ImageData, GaussianData), "net": TaggedUnion("kind", VGG, DLN, MLP)}
"""The fields of `Spec` whose tables have several shapes."""

Data = Annotated[
    Annotated[ImageData, Tag("ImageData")] | Annotated[GaussianData, Tag("GaussianData")],
    Discriminator(CHOICES["data"].shape_of),
]
Net = Annotated[
    Annotated[VGG, Tag("VGG")] | Annotated[DLN, Tag("DLN")] | Annotated[MLP, Tag("MLP")],
    Discriminator(CHOICES["net"].shape_of),
]


class SpecFields(ConfigModel):
    """The fields of `Spec`, each valid by itself."""

    title: Text = ""
    """Title of this run's figures."""
    steps: Count = 1000
    """Number of optimizer updates."""
    seed: NonNegativeCount = 0
    """Seeds every draw: initialization, data order, augmentation, noise, probes."""
    batch_size: Count | Literal["full"] = 128
    """Samples per step; `full` for full-batch gradient descent."""
    precision: Annotated[
        Literal["float32", "float64", "tf32", "bfloat16"], BeforeValidator(canonical_precision)
    ] = "float32"
    """Arithmetic of training and evaluation; parameters are float64 under `float64`, else float32. `tf32` lets a
    GPU round the factors of products to 10 bits; `bfloat16` makes products in bfloat16 (torch.autocast) and takes
    statistics and losses in float32. Probes always compute in IEEE float32 (or float64): under `tf32` and
    `bfloat16` with a gradient of their own at theta_t, which is one more step per measurement."""
    device: Annotated[str, BeforeValidator(canonical_device)] = "auto"
    """auto, cpu, cuda or cuda:<index>; `auto` is resolved at submission."""
    threads: Count | Literal["auto"] = "auto"
    """CPU threads of the worker, part of the spec because they change rounding; `auto` is resolved at
    submission."""
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    """Layout of images and convolutions in memory, part of the spec because it changes rounding and the draws of
    noise. `auto`: channels_last on a GPU, contiguous on a CPU, decided at submission."""
    cuda_graphs: Flag = False
    """On a GPU, run whole steps as CUDA graphs wherever the results are bitwise the same. A CPU has none."""
    data: Data = ImageData()
    """The data: a table of images (`source` auto, cifar10, folder, synthetic) or of `source` gaussian."""
    net: Net = VGG()
    """The network: the table of a VGG, of `kind` dln or of `kind` mlp."""
    norm: Norm = Norm()
    """The kind of norm at every norm position."""
    noise: Noise = Noise()
    """Noise injection."""
    init: Init = Init()
    """Initialization."""
    loss: Loss = Loss()
    """The loss."""
    optim: Optim = Optim()
    """The optimizer."""
    log_every: Count = 1
    """Journal a `step` event every so many steps (the first and the last always)."""
    eval: Evaluation = Evaluation()
    """Evaluation cadence and size."""
    probes: Probes = Probes()
    """Instruments."""
    checkpoint: Checkpoints = Checkpoints()
    """Checkpoint cadence."""
