"""What the papers claim about their figures and tables, each claim with the study that tests it and the rule that
decides."""

from dataclasses import dataclass

from verdicts import (
    Above,
    At,
    Coincidence,
    Confirmed,
    Differences,
    DifferingSigns,
    Each,
    Estimator,
    FilterOf,
    LateFlips,
    MoreTrials,
    Oscillations,
    Pairs,
    Rule,
    Within,
    binary_ahead,
    last_flips,
    latent_ahead,
    scored,
    started,
    trained,
)

from studies.analysis.settings import flips

# accuracies: a point is about one training's standard deviation over seeds on spoken digits (docs/instrument.md); half
# a point is the least effect that makes a claim of better or worse worth making
POINT = 0.01
HALF = Above(0.0, 0.005)
SIMILAR = Within(POINT)
NO_WORSE = Above(-HALF.least, -HALF.least)  # fails if the effect against it is worth a claim
# logistic regression's on the same test images by size: MNIST's as in docs/methods-table.md, CIFAR-10's by
# methods_table.linear with a penalty of 100
LINEAR = {("mnist", 28): 0.917, ("mnist", 14): 0.918, ("cifar10", 16): 0.417}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A paper's claim: `text` in the paper's terms, at its `place`; `study` names a file below studies/specs.

    `control` is the same measure where the claim says nothing, or the opposite, or where the answer is known: it shows
    what could have been seen. For a blind rule, the control is a known effect, with the better setting first, which
    must be seen. `over_control` is for a control that differs in something else that might be the reason: an effect
    that is not beyond the control's is not the claim's. What is `given` must hold for the claim to be asked at all.
    """

    place: str
    text: str
    study: str
    estimator: Estimator
    rule: Rule
    control: Estimator | None = None
    over_control: bool = False
    given: tuple[Estimator, Above] | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure about which the paper claims nothing: its `study` is run and drawn."""

    place: str
    text: str
    study: str


@dataclass(frozen=True, slots=True)
class Open:
    """A figure or table without a claim above: its full `study`, if there is one, and what is missing to run it."""

    place: str
    study: str | None
    missing: str


RATES = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
MAGNITUDE = "initial-magnitude"
GAMMA, TAU = At("gamma", (0.01,)), At("tau", (1e-8,))  # the same setting in two arms, with the same seeds
ALIKE = At("tau", (1e-9,))  # with a tau for which nothing is claimed
SCORED = Differences(
    At("latent-adam"), measure=scored
)  # a network worse than a linear map of its inputs tells nothing
FIGURE4C = Differences(At("from-zero", (1.0,)), tuple(At("from-zero", (r,)) for r in RATES if r != 1.0))
LARGEST, LARGE, SMALLEST = (At("learning-rate", (rate,)) for rate in (16384.0, 4096.0, 0.0625))
LARGE_RATES = Differences(LARGEST, (LARGE,), flips)
MIDDLING_RATES = Differences(At("learning-rate", (16.0,)), (At("learning-rate", (4.0,)),), flips)
ALPHAS = tuple(At("alpha", (alpha,)) for alpha in (1e-3, 1e-2, 1e-1))

TUNED, PUBLISHED = ("latent-sgd", "gradient-filter"), ("latent-published", "filter-published")
MORE, BY_LUCK = MoreTrials(*TUNED), MoreTrials(*PUBLISHED)  # with nothing to search

PAREN = ("ste-adam", "mirror-descent", "bop", "bnew")  # what Paren & Poudel compare
STARTED = ("mirror-descent", "bop")  # whose authors do not suggest such a start
DISTILLED = ("ste-adam", "bnew")  # that are also trained with a teacher here
LATE = LateFlips(epochs=3, frozen=1)
BUDGETS = (
    *((At(method), At(f"{method}-short")) for method in PAREN if method != "bnew"),
    (At("bnew-stronger"), At("bnew-short-weaker")),
)

CLAIMS: tuple[Claim, ...] = (
    Claim(
        place="Quist 2023, Figure 2",
        text="For the same alpha, a first-order filter is more noisy than a second-order filter, which may cause the "
        "binary weight to oscillate.",
        study="quist2023/figure2-proxy",
        estimator=Differences(At("second-order"), measure=Oscillations(FilterOf(1), FilterOf(2))),
        rule=Above(0.0, 0.005),  # one sign change in the proxy's epoch of 175 steps is 0.006
        control=Differences(At("second-order"), measure=Oscillations(FilterOf(1, factor=10), FilterOf(1))),
    ),
    Claim(
        place="Quist 2023, Figure 3",
        text="In the magnitude-independent setting, scaling the learning rate has the exact same effect on the "
        "flipping ratio as scaling the initial latent weights by the inverse.",
        study="quist2023/figure3-proxy",
        estimator=Coincidence(("learning-rate", MAGNITUDE)),
        rule=Above(0.9, 0.9),
        control=Coincidence(("learning-rate", MAGNITUDE), apart=1),
    ),
    Claim(
        place="Quist 2023, Figure 3",
        text="Larger learning rates, as smaller initial magnitudes, have similar flipping ratios.",
        study="quist2023/figure3-proxy",
        estimator=LARGE_RATES,
        rule=Within(2e-4),
        control=MIDDLING_RATES,
    ),
    Claim(
        place="Quist 2023, Figure 3",
        text="A too small learning rate, as a too large initial magnitude, does not reach the same flipping ratios.",
        study="quist2023/figure3-proxy",
        estimator=Differences(LARGE, (SMALLEST,), flips),
        rule=Above(0.0, 1e-5),
        control=LARGE_RATES,
        over_control=True,
    ),
    Claim(
        place="Quist 2023, Figure 3",
        text="For sufficiently large ratios of learning rate to initial magnitude, scaling either has no effect on "
        "training.",
        study="quist2023/figure3-proxy",
        estimator=Differences(LARGEST, (LARGE,)),
        rule=SIMILAR,
        control=Differences(LARGE, (SMALLEST,)),
    ),
    Claim(
        place="Quist 2023, Figure 4a",
        text="In the standard setting the accuracy has an optimum in the learning rate, here tested at 1: a far "
        "smaller and a far larger one are worse.",
        study="quist2023/figure4-proxy",
        estimator=Differences(At("standard", (1.0,)), (At("standard", (0.0001,)), At("standard", (100.0,)))),
        rule=HALF,
        control=FIGURE4C,
    ),
    Claim(
        place="Quist 2023, Figure 4b",
        text="Magnitude-independent, the accuracy is sensitive to small learning rates.",
        study="quist2023/figure4-proxy",
        estimator=Differences(At("magnitude-independent", (1.0,)), (At("magnitude-independent", (0.0001,)),)),
        rule=HALF,
        control=Differences(At("magnitude-independent", (100.0,)), (At("magnitude-independent", (1.0,)),)),
    ),
    Claim(
        place="Quist 2023, Figure 4c",
        text="Magnitude-independent and started at 0, the accuracy is independent of the learning rate.",
        study="quist2023/figure4-proxy",
        estimator=FIGURE4C,
        rule=SIMILAR,
        control=Differences(At("magnitude-independent", (1.0,)), (At("magnitude-independent", (0.0001,)),)),
    ),
    Claim(
        place="Quist 2023, Figure 5, flipping ratio",
        text="Alpha strongly influences training: a larger alpha causes more binary weight flips per update, here each "
        "of 1e-3, 1e-2 and 1e-1; smaller ones, the control, remember all of so short a training.",
        study="quist2023/figure5-proxy",
        estimator=Each(((ALPHAS[1], ALPHAS[0]), (ALPHAS[2], ALPHAS[1])), flips),
        rule=Above(0.0, 1e-5),
        control=Differences(At("alpha", (1e-4,)), (At("alpha", (1e-6,)),), flips),
        over_control=True,
    ),
    Claim(
        place="Quist 2023, Figure 5, accuracy",
        text="A too large alpha hinders converging.",
        study="quist2023/figure5-proxy",
        estimator=Differences(At("alpha", (1e-3,)), (At("alpha", (0.1,)),)),
        rule=HALF,
        control=Differences(At("alpha", (1e-3,)), (At("published"),)),
    ),
    Claim(
        place="Quist 2023, Figure 6, flipping ratio",
        text="Without alpha decay flipping continues where with alpha decay it dies down: there are fewer flips "
        "in the last epoch.",
        study="quist2023/figure6-proxy",
        estimator=Differences(At("none"), (At("cosine"),), last_flips),
        rule=Above(0.0, 1e-5),
    ),
    Claim(
        place="Quist 2023, Figure 6, accuracy",
        text="The network with alpha decay converges better, leading to a better end result.",
        study="quist2023/figure6-proxy",
        estimator=Differences(At("cosine"), (At("none"),)),
        rule=HALF,
    ),
    Claim(
        place="Quist 2023, Figure 7",
        text="Latent weights (eq 3) and gradient filtering (eq 17) are empirically equivalent.",
        study="quist2023/figure7-proxy",
        estimator=Differences(At("filter"), (At("latent"),)),
        rule=SIMILAR,
        control=Differences(At("filter"), (At("another-alpha"),)),
    ),
    Claim(
        place="Quist 2023, Figure 7, in float64, sign for sign",
        text="Latent weights (eq 3) and gradient filtering (eq 17) are empirically equivalent.",
        study="quist2023/figure7-float64-proxy",
        estimator=DifferingSigns(("filter", "latent")),
        rule=Within(0.5),
        control=DifferingSigns(("filter", "another-alpha")),
    ),
    Claim(
        place="Quist 2023, section 3",
        text="Without alpha decay, the values for alpha and gamma can be swapped.",
        study="quist2023/swapped-proxy",
        estimator=Differences(At("alpha-first"), (At("swapped"),)),
        rule=SIMILAR,
        control=Differences(At("alpha-first"), (At("another-alpha"),)),
    ),
    Claim(
        place="Quist 2023, section 3",
        text="Bias correction had a negative effect on training.",
        study="quist2023/bias-correction-proxy",
        estimator=Differences(At("plain"), (At("corrected"),)),
        rule=HALF,
    ),
    Claim(
        place="Quist 2023, section 4.2",
        text="Learning rate decay had no effect on latent weights.",
        study="quist2023/learning-rate-decay-proxy",
        estimator=Differences(At("latent-cosine"), (At("latent-none"),)),
        rule=SIMILAR,
        control=Differences(At("latent-cosine"), (At("latent-large-alpha"),)),
    ),
    Claim(
        place="Quist 2023, section 4.2",
        text="Nor had alpha decay on the filter.",
        study="quist2023/learning-rate-decay-proxy",
        estimator=Differences(At("filter-cosine"), (At("filter-none"),)),
        rule=SIMILAR,
        control=Differences(At("filter-cosine"), (At("filter-large-alpha"),)),
    ),
    Claim(
        place="Quist 2023, Table 2",
        text="In one step the filter reaches the accuracy of latent weights, or a higher one.",
        study="quist2023/table2-proxy",
        estimator=Differences(At("filter"), (At("latent"),)),
        rule=NO_WORSE,
        control=Differences(At("filter-without-decay"), (At("filter"),)),  # worse: Figure 6
    ),
    Claim(
        place="Quist 2023, Figure 8",
        text="Both methods perform equally for good hyperparameters.",
        study="quist2023/figure8-proxy",
        estimator=Confirmed(*TUNED[::-1]),
        rule=SIMILAR,
        control=Confirmed(*TUNED[::-1], after=(None, 1)),
    ),
    Claim(
        place="Quist 2023, Figure 8",
        text="The gradient filtering view needs much less trials, measured by the best result so far, as in the "
        "figure. The control has nothing to search and climbs by luck alone.",
        study="quist2023/figure8-proxy",
        estimator=MORE,
        rule=Above(0.0, 1.0),
        control=BY_LUCK,
    ),
    Claim(
        place="Quist 2023, section 4.2",
        text="For latent weights it takes on average around 10 more trials, tested here as at least 5.",
        study="quist2023/figure8-proxy",
        estimator=MORE,
        rule=Above(5.0, 5.0),
        control=BY_LUCK,
    ),
    Claim(
        place="Quist 2023, Figure 8, with fresh seeds",
        text="The gradient filtering view needs much less trials, by what the best hyperparameters so far are "
        "worth, in which luck does not count.",
        study="quist2023/figure8-proxy",
        estimator=MoreTrials(*TUNED, fresh=True),
        rule=Above(0.0, 1.0),
        control=MoreTrials(*PUBLISHED, fresh=True),
    ),
    Claim(
        place="Nayak 2020, Figure 1a",
        text="A high gamma, here of 1, gives very poor performance.",
        study="nayak2020/figure1-proxy",
        estimator=Differences(GAMMA, (At("gamma", (1.0,)),), trained),
        rule=HALF,
        control=Differences(GAMMA, (ALIKE,), trained),
    ),
    Claim(
        place="Nayak 2020, Figure 1a",
        text="A low gamma, here of 1e-4, takes a long time to converge fully.",
        study="nayak2020/figure1-proxy",
        estimator=Differences(GAMMA, (At("gamma", (1e-4,)),), trained),
        rule=HALF,
        control=Differences(GAMMA, (ALIKE,), trained),
    ),
    Claim(
        place="Nayak 2020, Figure 1a",
        text="A gamma of 1e-5, here of 1e-2, performs best.",
        study="nayak2020/figure1-proxy",
        estimator=Differences(
            GAMMA, tuple(At("gamma", (gamma,)) for gamma in (1e-4, 1e-3, 1e-1, 1.0)), trained
        ),
        rule=HALF,
        control=Differences(GAMMA, (ALIKE,), trained),
    ),
    Claim(
        place="Nayak 2020, section 3",
        text="In the very beginning of the training the accuracy trend is steep with a high gamma, here of 1: after "
        "one epoch it is above that of the best gamma. The control is the end of training.",
        study="nayak2020/figure1-proxy",
        estimator=Differences(At("gamma", (1.0,)), (GAMMA,), started),
        rule=HALF,
        control=Differences(At("gamma", (1.0,)), (GAMMA,), trained),
    ),
    Claim(
        place="Nayak 2020, Figure 1b",
        text="Networks with tau in the range of 1e-8 perform nearly the same.",
        study="nayak2020/figure1-proxy",
        estimator=Differences(TAU, (At("tau", (1e-9,)), At("tau", (1e-7,))), trained),
        rule=SIMILAR,
        control=Differences(TAU, (At("tau", (1e-3,)),), trained),
    ),
    Claim(
        place="Nayak 2020, section 3",
        text="Tau should not be so big that the weight flipping is hindered.",
        study="nayak2020/figure1-proxy",
        estimator=Differences(TAU, (At("tau", (1e-3,)),), trained),
        rule=HALF,
        control=Differences(TAU, (ALIKE,), trained),
    ),
    Claim(
        place="Nayak 2020, Figure 2",
        text="In training performance, layer normalisation performs slightly better than batch normalisation for this "
        "choice of hyperparameters, here with a gamma of 3e-3 in place of 1e-5.",
        study="nayak2020/figure2-proxy",
        estimator=Differences(At("layer", (3e-3,)), (At("batch", (3e-3,)),), trained),
        rule=HALF,
        control=Differences(At("batch", (3e-3,)), (At("batch", (1.0,)),), trained),
    ),
    Claim(
        place="Nayak 2020, Figure 3a",
        text="Under layer normalisation a high gamma, here of 1, is poor, too.",
        study="nayak2020/figure3-proxy",
        estimator=Differences(GAMMA, (At("gamma", (1.0,)),), trained),
        rule=HALF,
        control=Differences(GAMMA, (ALIKE,), trained),
    ),
    Claim(
        place="Nayak 2020, Figure 3a",
        text="Under layer normalisation, too, a gamma of 1e-5, here of 1e-2, performs best.",
        study="nayak2020/figure3-proxy",
        estimator=Differences(GAMMA, tuple(At("gamma", (gamma,)) for gamma in (1e-3, 1e-1, 1.0)), trained),
        rule=HALF,
        control=Differences(GAMMA, (ALIKE,), trained),
    ),
    Claim(
        place="Nayak 2020, Figure 3b",
        text="Under layer normalisation, too, tau in the range of 1e-8 performs nearly the same.",
        study="nayak2020/figure3-proxy",
        estimator=Differences(TAU, (At("tau", (1e-9,)), At("tau", (1e-7,))), trained),
        rule=SIMILAR,
        control=Differences(TAU, (At("tau", (1e-3,)),), trained),
    ),
    Claim(
        place="Nayak 2020, Table 4, fully connected",
        text="On MNIST the fully connected network has a higher test accuracy with latent weights.",
        study="nayak2020/table4-proxy",
        estimator=Differences(At("latent-adam"), measure=latent_ahead),
        rule=HALF,
        given=(SCORED, Above(LINEAR["mnist", 28], LINEAR["mnist", 28])),
    ),
    Claim(
        place="Nayak 2020, Table 4, LeNet-5",
        text="On MNIST LeNet-5 has a lower test accuracy with latent weights than with binary ones.",
        study="nayak2020/table4-mnist-lenet5-proxy",
        estimator=Differences(At("latent-adam"), measure=binary_ahead),
        rule=HALF,
        given=(SCORED, Above(LINEAR["mnist", 14], LINEAR["mnist", 14])),
    ),
    Claim(
        place="Nayak 2020, Table 5, LeNet-5",
        text="On CIFAR-10 the network with latent weights achieves a lower accuracy than with binary ones.",
        study="nayak2020/table5-proxy",
        estimator=Differences(At("latent-adam"), measure=binary_ahead),
        rule=HALF,
        given=(SCORED, Above(LINEAR["cifar10", 16], LINEAR["cifar10", 16])),
    ),
    Claim(
        place="Nayak 2020, Figure 4",
        text="By training PSNR, the binary autoencoder is better with Bop than with Adam. Bop's real-valued parameters "
        "have another learning rate; the control is Adam with that rate.",
        study="nayak2020/figure4-proxy",
        estimator=Differences(At("bop"), (At("adam"),), trained),
        rule=Above(0.0, 0.05),
        control=Differences(At("adam-bops-rate"), (At("adam"),), trained),  # for the real-valued parameters
        over_control=True,
    ),
    Claim(
        place="Nayak 2020, section 5",
        text="The training of the binary autoencoder converges faster with Bop than with Adam, by training PSNR after "
        "the first epoch. The control is again Adam with the rate of Bop's real-valued parameters.",
        study="nayak2020/figure4-proxy",
        estimator=Differences(At("bop"), (At("adam"),), started),
        rule=Above(0.0, 0.05),
        control=Differences(At("adam-bops-rate"), (At("adam"),), started),
        over_control=True,
    ),
    Claim(
        place="Nayak 2020, section 5",
        text="Binary autoencoders, by Adam and by Bop, give degraded reconstructions beside the real-valued one.",
        study="nayak2020/figure4-proxy",
        estimator=Differences(At("real-valued"), (At("adam"), At("bop"))),
        rule=Above(0.0, 0.05),
        control=Differences(At("adam-bops-rate"), (At("adam"),)),
    ),
    Claim(
        place="Paren & Poudel 2021, Table 1",
        text="The similarity in performance between optimisers is typically less than the standard deviation.",
        study="paren2021/table1-proxy",
        estimator=Pairs(PAREN),
        rule=Within(1.0),
        control=Pairs(PAREN, over="frozen"),  # signs that never flip: what the others' flips are worth
    ),
    Claim(
        place="Paren & Poudel 2021, section 5.1, ablations",
        text="The addition of channel-wise scalars has no positive effect.",
        study="paren2021/ablations-proxy",
        estimator=Differences(At("bnew-no-scale"), (At("bnew"),)),
        rule=NO_WORSE,
        control=Differences(At("bnew-no-rprelu"), (At("bnew"),)),
    ),
    Claim(
        place="Paren & Poudel 2021, section 5.1, ablations",
        text="The use of equation 2 over 1, for the derivative of the sign, has no positive effect.",
        study="paren2021/ablations-proxy",
        estimator=Differences(At("bnew-no-polynomial"), (At("bnew"),)),
        rule=NO_WORSE,
        control=Differences(At("bnew-no-rprelu"), (At("bnew"),)),
    ),
    Claim(
        place="Paren & Poudel 2021, section 5.1, budgets",
        text="For all methods a shorter quantisation phase produces a decrease in the quality of results. BNEW's short "
        "one has the lower lambda_rate, as in their code; the control compares BNEW of both lambda_rates at equal "
        "length.",
        study="paren2021/budgets-proxy",
        estimator=Each(BUDGETS),
        rule=HALF,
        control=Differences(At("bnew-stronger"), (At("bnew"),)),
    ),
    Claim(
        place="Paren & Poudel 2021, section 5.1, distillation",
        text="For all methods a lack of distillation produces a decrease in the quality of results, tested here "
        "with straight-through Adam and BNEW, and a teacher that is scaled down as its students are. The control is "
        "BNEW instead of straight-through Adam.",
        study="paren2021/distillation-proxy",
        estimator=Each(tuple((At(f"{method}-distilled"), At(method)) for method in DISTILLED), scored),
        rule=HALF,
        control=Differences(At("bnew"), (At("ste-adam"),), scored),
    ),
    Claim(
        place="Paren & Poudel 2021, section 4.3",
        text="In general, completing the quantisation phase over a longer time frame with a lower lambda_rate produces "
        "better results.",
        study="paren2021/budgets-proxy",
        estimator=Differences(At("bnew"), (At("bnew-short"), At("bnew-stronger"))),
        rule=HALF,
        control=Differences(At("bnew-short-weaker"), (At("bnew-short"),)),  # a lower rate for as long
    ),
    Claim(
        place="Paren & Poudel 2021, section 5.1, start",
        text="For mirror descent and Bop a pre-trained model with binary activations and real-valued parameters as the "
        "starting point produces superior results, tested as their code tests BNEW: without the start, nothing "
        "replaces its epochs. In the control, more epochs with binary weights replace them.",
        study="paren2021/start-proxy",
        estimator=Each(tuple((At(method), At(f"{method}-from-nothing")) for method in STARTED)),
        rule=HALF,
        control=Each(tuple((At(method), At(f"{method}-longer")) for method in STARTED)),
    ),
    Claim(
        place="Paren & Poudel 2021, section 4.4",
        text="BNEW's regulariser produces better results in practice than those of ProxQuant, L1 and L2.",
        study="paren2021/figure1-proxy",
        estimator=Differences(At("bnew"), (At("proxquant-l1"), At("proxquant-l2"))),
        rule=HALF,
        control=Differences(At("bnew"), (At("bnew-stronger"),)),  # what strength alone decides
    ),
    Claim(
        place="Paren & Poudel 2021, section 4.4",
        text="Under L1 and L2, whose gradients are largest close to zero, it becomes difficult for a weight to change "
        "sign for the rest of training.",
        study="paren2021/figure1-proxy",
        estimator=Differences(At("bnew"), (At("proxquant-l1"), At("proxquant-l2")), LATE),
        rule=Above(0.0, 1e-5),
        control=Differences(At("bnew"), (At("bnew-stronger"),), LATE),  # what strength alone decides
        over_control=True,
    ),
    Claim(
        place="Paren & Poudel 2021, section 6",
        text="BNEW's effectiveness has a dependence on lambda_rate, which needs to be selected to ensure that weights "
        "become mostly binary before the fine tuning phase.",
        study="paren2021/lambda-rate-proxy",
        estimator=Differences(At("bnew"), (At("weaker"),)),
        rule=HALF,
        control=Differences(At("bnew"), (At("stronger"),)),  # both make weights binary
    ),
)

SHOWN: tuple[Shown, ...] = (
    Shown(
        place="Nayak 2020, Figure 5",
        text="Images with noise, and as the autoencoders recover them. The paper claims nothing about them.",
        study="nayak2020/figure4-proxy",
    ),
    Shown(
        place="Paren & Poudel 2021, Figure 2",
        text="Training curves of BNEW, in the paper on CIFAR-100, here on CIFAR-10. "
        "The paper claims nothing about them.",
        study="paren2021/figure2-proxy",
    ),
)

ABSENT = "needs images that were not available"
OPEN: tuple[Open, ...] = (
    Open("Quist 2023, Figure 1", None, "is a drawing"),
    Open(
        "Quist 2023, Figure 5, a too small alpha",
        "quist2023/figure5",
        "needs more steps than the small alpha remembers",
    ),
    Open(
        "Quist 2023, Table 2, two steps",
        "quist2023/table2-two-step",
        "needs a first step as long as the second, which doubles the time of the slowest study here",
    ),
    Open("Quist 2023, Table 3", "quist2023/table3", ABSENT),
    Open(
        "Quist 2023, Figure 8, CIFAR-10",
        "quist2023/figure8-cifar10-birealnet20-proxy",
        "needs hours on two cores for the runs of a verdict; this file shows in three runs that the study works",
    ),
    Open(
        "Quist 2023, Figure 8, ImageNet",
        "quist2023/figure8-imagenet-reactnet-a-proxy",
        "needs hours on two cores for the runs of a verdict; this file shows in two runs that the study works",
    ),
    Open(
        "Nayak 2020, Table 5, ConvNet",
        "nayak2020/table5-cifar10-convnet",
        "needs longer trainings: ConvNet is larger than LeNet-5, which already takes some of the longest",
    ),
    Open(
        "Paren & Poudel 2021, Table 1, distilled",
        "paren2021/table1-cifar10-reactnet20-distilled",
        "shows on CIFAR-10 what the undistilled half shows and is tested there: the optimisers are similar",
    ),
    Open(
        "Paren & Poudel 2021, Table 1, real-valued",
        "paren2021/table1-cifar10-real-valued",
        "needs the full training: 200 epochs at a learning rate of 1",
    ),
    Open("Paren & Poudel 2021, Figure 1", None, "is a drawing"),
    Open(
        "Paren & Poudel 2021, section 5.1, many of ReActNet's developments are useful",
        "paren2021/ablations",
        "only the paper's supplement says which developments; their code has the parts, not the numbers",
    ),
    Open(
        "Paren & Poudel 2021, section 5.1, distillation with mirror descent and Bop",
        "paren2021/distillation",
        "needs the time of the other two methods again, and the paper says the same of all four",
    ),
    Open("Paren & Poudel 2021, Table 1, CIFAR-100", "paren2021/table1-cifar100-reactnet20", ABSENT),
    Open("Paren & Poudel 2021, Table 2", "paren2021/table2", ABSENT),
)
