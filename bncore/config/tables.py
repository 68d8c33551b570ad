"""The tables of a spec, with every field documented; `bncore.config.model` reexports them and adds `Spec`."""

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
    """Source of the images. `auto` is resolved once, before any run starts: CIFAR-10 on disk, else a download
    with a short time limit, else the synthetic set. A resolved spec never contains `auto`."""
    path: Text | None = None
    """Folder with `cifar-10-batches-py`, or with `train/<class>/*` and `test/<class>/*` (`val` if there is no
    `test`); default: the cache. Images are read as 8-bit RGB: the first frame, upright according to EXIF,
    transparent pixels on white, 16-bit gray rescaled, color profiles ignored."""
    augment: Flag = False
    """Random crop (padding 4 pixels) and horizontal flip of training batches, drawn from keyed generators."""
    standardize: Literal["dataset", "image"] = "dataset"
    """Pixels are standardized by the training set's mean and standard deviation of each channel or, after
    augmentation, by each image's own over all its pixels and channels, like TensorFlow's per_image_standardization
    of pixels from 0 to 255: (x - mean) / max(std, 1 / sqrt(n)), with n values per image."""
    image_size: Annotated[int, Field(ge=1, le=4096, strict=True)] | None = None
    """For a folder of images: the shorter side is resized to this many pixels (bilinear, antialiased), and the
    center square is used. Default: unchanged; all images must then have the same size. A VGG needs 32."""
    background: Literal["any", "by_class"] = "any"
    """Background of the synthetic images: blotches of any color, or blotches whose color hints at the class. With
    `any`, a linear classifier is at chance, and a deep network without a norm stays on its plateau for far
    longer than on CIFAR-10; with `by_class`, a linear classifier reaches 48 % (on CIFAR-10 about 40 %)."""
    fingerprint: Text | None = None
    """SHA-256 of the decoded arrays, filled in when the source is resolved; on a mismatch, training is refused."""


class GaussianData(ConfigModel):
    """Gaussian regression x -> A x with x i.i.d. N(0, 1) (Santurkar et al., 2018, section 2.2)."""

    source: Literal["gaussian"] = "gaussian"
    """Generated data."""
    samples: Count = 1000
    """Number of training samples."""
    features: Count = 10
    """Dimension of x and of A x."""
    teacher: Literal["gaussian", "uniform"] = "gaussian"
    """Distribution of the entries of A: i.i.d. N(0, 1) or U(0, 1), as drawn by `rand`. The text of Santurkar et
    al. (2018, section 2.2) says N(0, 1); its figures fit U(0, 1) [inferred]: with a Gaussian A, the paper's
    losses from step 50 on lie below those of all of 200 seeds."""
    fingerprint: Text | None = None
    """SHA-256 of the generated arrays; default: not checked, since the seed determines them."""


VGG_SIDE = 32
"""Image side, in pixels, that a VGG requires."""

_CONVOLUTIONS = {"vgg11": 8, "vgg13": 10, "vgg16": 13, "vgg19": 16}


class Network(ConfigModel):
    """Base of all networks."""

    @property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the layers, in order; empty if all layers are of one kind."""
        return ()


class VGG(Network):
    """VGG for 32x32 images (Simonyan & Zisserman, 2015): 3x3 convolutions, five poolings, a linear head."""

    kind: Literal["vgg11", "vgg13", "vgg16", "vgg19"] = "vgg16"
    """Which of the four VGG architectures."""
    width: Annotated[float, Field(gt=0, le=64, strict=True)] = 1.0
    """Multiplier on every channel count and hidden head width, rounded to at least 1."""
    head: tuple[Count, ...] = ()
    """Widths of hidden linear layers between the last pooling and the classifier; default: none."""

    @property
    def layers(self) -> int:
        """Number of layers; they are numbered from 1."""
        return len(self.layer_names)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """``conv1``, ``conv2``, …, and ``fc1``, … for the linear layers."""
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
        """Number of layers."""
        return self.depth


class MLP(Network):
    """Multilayer perceptron with ReLU; images are flattened."""

    kind: Literal["mlp"] = "mlp"
    """Multilayer perceptron."""
    hidden: tuple[Count, ...] = (512, 512)
    """Widths of the hidden layers."""

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.hidden) + 1


class Norm(ConfigModel):
    """The norm at every norm position; it can be switched between two steps."""

    kind: Annotated[str, BeforeValidator(canonical_norm)] = "batch"
    """none, batch, l1, l2, linf, lp:<p> with p >= 1, layer, group, instance, weight, or an ablation of batch:
    mean_only, variance_only, batch_detached (no gradient through the statistics), batch_population."""
    centred: Flag = False
    """For l_p kinds: compute the l_p scale from y - mean(y) instead of the paper's uncentered y (section 3.3)."""
    fused: Flag = False
    """For uncentered l_p kinds on a GPU: use Triton kernels that make as few passes over memory as torch's
    batch norm (`bncore.nets.lp_fused`). They add in another order, so digests differ from those without
    them."""
    groups: Count = 8
    """For `group`: number of groups of channels in each layer, if it divides the channel count evenly, else the
    largest divisor of the channel count below it."""
    eps: Positive = 1e-5
    """Constant added inside the root of the scale."""
    momentum: Annotated[float, Field(gt=0, le=1, strict=True)] = 0.1
    """Weight of the newest batch in the running statistics, as in torch.nn.BatchNorm2d."""
    affine: Literal["learned", "frozen"] = "learned"
    """Whether gamma and beta are trained or stay at 1 and 0."""
    bias: Flag = True
    """Whether kind `none` adds beta as the layer's bias; false gives the bias-free maps of the DLN."""


class Noise(ConfigModel):
    """Algorithm 1 of Santurkar et al. (2018): per-step, per-unit mean and scale, then per-sample draws."""

    on: Flag = False
    """Whether noise is injected."""
    n_mu: NonNegative = 0.5
    """mu_j ~ U(-n_mu, n_mu), per step and unit j."""
    n_sigma: Annotated[float, Field(ge=1, le=LARGEST, allow_inf_nan=False, strict=True)] = 1.25
    """sigma_j ~ U(1, n_sigma), per step and unit j."""
    r_mu: NonNegative = 0.1
    """m_ij ~ U(mu_j - r_mu, mu_j + r_mu), per sample (and position) i."""
    r_sigma: NonNegative = 0.1
    """s_ij ~ N(sigma_j, r_sigma), per sample (and position) i; r_sigma is the standard deviation."""
    position: Literal["after_norm", "before_norm", "input", "last_norm"] = "after_norm"
    """Place of injection: the output of every norm position (after gamma and beta), its input, only the network's
    input, or only the output of the last norm position."""
    amplitude: Literal["absolute", "relative"] = "absolute"
    """`relative` multiplies the additive part m by the unit's standard deviation in this batch."""
    in_eval: Flag = False
    """Whether noise is also injected in evaluation."""


class Init(ConfigModel):
    """Initialization of the weights."""

    scheme: Literal["glorot", "he", "he_fan_out", "orthogonal"] = "glorot"
    """Glorot & Bengio (2010), He et al. (2015) by fan-in, or Saxe et al. (2014). he_fan_out: convolutions normal
    with variance 2 / (k^2 c_out) (He et al., 2015), linear layers uniform with variance 1 / fan_in. This is the
    initialization of TensorFlow's CIFAR-10 ResNet, widely copied at the time, and the paper's VGG figures fit it
    [inferred]."""
    distribution: Literal["uniform", "normal"] = "uniform"
    """Distribution for glorot and he, with the scheme's variance; he_fan_out and orthogonal have their own."""


class Schedule(ConfigModel):
    """The learning rate as a function of the step."""

    kind: Literal["constant", "step", "cosine"] = "constant"
    """Constant, multiplied by `factor` at each milestone, or a half cosine from lr to 0 at the last step."""
    milestones: tuple[Count, ...] = ()
    """For `step`: the steps at which the learning rate is multiplied by `factor`."""
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
    """For adam: constant added to the denominator."""
    weight_decay: NonNegative = 0.0
    """L2 coefficient wd: the penalty (wd/2)*||theta||^2 is added to the loss."""
    decay: Literal["all", "weights"] = "all"
    """Trained parameters that the penalty acts on: all, or only the layers' weights (of convolutions and linear
    maps, without biases, gamma and beta)."""
    relative_update: NonNegative = 0.0
    """Relative length ||dW|| / ||W|| to which each layer's weight update is rescaled, times the schedule's
    factor at the step, as a control for the size of the updates. 0: the update as the optimizer made it."""
    schedule: Schedule = Schedule()
    """Schedule of the learning rate."""


class Loss(ConfigModel):
    """The training loss, journaled separately from the weight penalty."""

    kind: Literal["cross_entropy", "squared_error"] = "cross_entropy"
    """Softmax cross-entropy for class labels, or squared error for regression targets."""
    reduction: Literal["mean", "sum", "half_sum"] = "mean"
    """Reduction over samples (and output dimensions): mean, sum, or half the sum."""


class Evaluation(ConfigModel):
    """Whole-set losses and accuracies in evaluation mode."""

    every: NonNegativeCount = 100
    """Interval in steps, plus one evaluation at the end; 0: only at the end."""
    train_samples: NonNegativeCount = 2000
    """Number of training samples, the first ones in storage order; 0: all."""
    test_samples: NonNegativeCount = 0
    """Number of test samples; 0: all."""
    batch_size: Count = 500
    """Samples per forward pass."""


class Checkpoints(ConfigModel):
    """When checkpoints of the whole training state are written."""

    every_steps: NonNegativeCount = 0
    """Interval in steps; 0: not by steps."""
    every_minutes: NonNegative = 5.0
    """Interval in minutes of wall-clock time; 0: not by time."""
    keep: Count = 2
    """Number of newest checkpoints to keep, besides the requested ones."""


class TaggedUnion:
    """The possible shapes of a table and the key (tag) that distinguishes them; the first shape is the default.

    Several tag values may have the same shape (vgg11 and vgg16): changing the tag within a shape keeps the other
    keys, changing it across shapes does not.
    """

    def __init__(self, tag: str, *shapes: type[BaseModel]) -> None:
        self.tag = tag
        self.shapes = shapes
        self.values = tuple(v for shape in shapes for v in get_args(shape.model_fields[tag].annotation))

    def shape_of(self, value: object) -> str | None:
        """Name of the shape of `value` (a table or a model); None if its tag is not among `values`."""
        if isinstance(value, Mapping):
            tag: Any = value.get(self.tag, self.shapes[0].model_fields[self.tag].default)
        else:
            tag = getattr(value, self.tag, None)
        for shape in self.shapes:
            if tag in get_args(shape.model_fields[self.tag].annotation):
                return shape.__name__
        return None

    def states_other_shape(self, table: object, current: object) -> bool:
        """Whether `table` contains a tag whose shape differs from that of the table `current`."""
        if not isinstance(table, Mapping) or self.tag not in table:
            return False
        return self.shape_of(table) != self.shape_of(current)


CHOICES = {"data": TaggedUnion("source", ImageData, GaussianData), "net": TaggedUnion("kind", VGG, DLN, MLP)}
"""The fields of `Spec` whose tables can have several shapes."""

Data = Annotated[
    Annotated[ImageData, Tag("ImageData")] | Annotated[GaussianData, Tag("GaussianData")],
    Discriminator(CHOICES["data"].shape_of),
]
Net = Annotated[
    Annotated[VGG, Tag("VGG")] | Annotated[DLN, Tag("DLN")] | Annotated[MLP, Tag("MLP")],
    Discriminator(CHOICES["net"].shape_of),
]


class SpecFields(ConfigModel):
    """The fields of `Spec`, each validated by itself."""

    title: Text = ""
    """Title of this run's figures."""
    steps: Count = 1000
    """Number of optimizer updates."""
    seed: NonNegativeCount = 0
    """Seed of all draws: initialization, data order, augmentation, noise, probes."""
    batch_size: Count | Literal["full"] = 128
    """Samples per step; `full` for full-batch gradient descent."""
    precision: Annotated[
        Literal["float32", "float64", "tf32", "bfloat16"], BeforeValidator(canonical_precision)
    ] = "float32"
    """Arithmetic of training and evaluation; parameters are float64 under `float64`, else float32. `tf32` lets a
    GPU round the factors of products to 10 bits; `bfloat16` computes products in bfloat16 (torch.autocast), and
    statistics and losses in float32. Probes always compute in IEEE float32 (or float64): under `tf32` and
    `bfloat16` they recompute the gradient at theta_t, which costs one more step per measurement."""
    device: Annotated[str, BeforeValidator(canonical_device)] = "auto"
    """auto, cpu, cuda or cuda:<index>; `auto` is resolved at submission."""
    threads: Count | Literal["auto"] = "auto"
    """CPU threads of the worker, part of the spec because they change rounding; `auto` is resolved at
    submission."""
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    """Memory layout of images and convolutions, part of the spec because it changes rounding and the noise draws.
    `auto`, resolved at submission: channels_last on a GPU, contiguous on a CPU."""
    cuda_graphs: Flag = False
    """On a GPU, run whole steps as CUDA graphs wherever the results are bitwise equal; no effect on a CPU."""
    data: Data = ImageData()
    """The data: images (`source` auto, cifar10, folder, synthetic) or Gaussian regression (`source` gaussian)."""
    net: Net = VGG()
    """The network: a VGG, a deep linear network (`kind` dln) or a multilayer perceptron (`kind` mlp)."""
    norm: Norm = Norm()
    """The norm at every norm position."""
    noise: Noise = Noise()
    """Noise injection."""
    init: Init = Init()
    """Initialization."""
    loss: Loss = Loss()
    """The loss."""
    optim: Optim = Optim()
    """The optimizer."""
    log_every: Count = 1
    """Interval, in steps, of the journal's `step` events; the first and the last step are always journaled."""
    eval: Evaluation = Evaluation()
    """Evaluation cadence and size."""
    probes: Probes = Probes()
    """Probes and their cadences."""
    checkpoint: Checkpoints = Checkpoints()
    """Checkpoint cadence."""
