"""Settings of the search."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Interval

from transformer.attention.config import Attention
from transformer.errors import UsageError


@dataclass(frozen=True)
class Decoding:
    """Search for translations: beam search, greedy search (a beam of 1) or sampling."""

    beam: Annotated[int, Ge(1)] = 4
    """Hypotheses kept per sentence; 1 is greedy search."""
    normalize: Literal["gnmt", "average", "none"] = "gnmt"
    """Length normalisation: scores are log-probabilities divided by this, so that longer hypotheses are not penalised.
    gnmt: ((5 + length) / 6) ** length_penalty (Wu et al. 2016, equation 14). average: length ** length_penalty.
    none: 1."""
    length_penalty: Annotated[float, Ge(0)] = 0.6
    """Exponent of the length normalisation (alpha)."""
    coverage_penalty: Annotated[float, Ge(0)] = 0.0
    """Weight of the coverage penalty (beta of Wu et al. 2016, equation 14), which lowers the score of hypotheses that
    leave source tokens without attention; 0 disables it."""
    n_best: Annotated[int, Ge(1)] = 1
    """Translations returned per sentence, best first; with samples, all of them are returned."""
    min_length: Annotated[int, Interval(ge=0, le=2**31 - 1)] = 0
    """Minimum length of a translation in tokens, without the end-of-sentence token."""
    max_ratio: Annotated[float, Ge(0)] = 2.0
    """Maximum length of a translation as a multiple of the source length; max_extra is added to it."""
    max_extra: Annotated[int, Ge(1)] = 10
    """Tokens by which a translation may exceed max_ratio times the source length."""
    max_length: Annotated[int, Ge(0)] = 0
    """Absolute maximum length of a translation in tokens, including the end-of-sentence token; 0: the model's limit."""
    samples: Annotated[int, Ge(0)] = 0
    """Samples drawn per sentence instead of a beam search; 0 disables sampling."""
    temperature: Annotated[float, Ge(0.001)] = 1.0
    """Sampling temperature: logits are divided by it; below 1 the distribution is sharper, above 1 flatter."""
    top_k: Annotated[int, Ge(0)] = 0
    """Sampling is restricted to the k most likely tokens; 0 disables it."""
    top_p: Annotated[float, Interval(ge=1e-06, le=1)] = 1.0
    """Sampling is restricted to the most likely tokens with this total probability (nucleus sampling); 1 disables
    it."""
    min_p: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Sampling is restricted to tokens with at least this fraction of the largest probability; 0 disables it."""
    seed: Annotated[int, Interval(ge=0, le=2**31 - 1)] = 1
    """Random seed for sampling. Samples depend only on the seed and the line number."""
    mbr: Literal["none", "chrf", "bleu"] = "none"
    """Minimum Bayes risk: rank the samples or the n best by their mean chrF or BLEU with all of them as references."""
    batch: Annotated[int, Ge(1)] = 64
    """Sentences searched at once."""
    workers: Annotated[int, Interval(ge=0, le=64)] = 0
    """Threads that search in parallel; 0: two on a CPU with more than one core, otherwise one."""
    attention: bool = False
    """Return the attention to the source with each translation."""
    replace_unknown: bool = False
    """Replace each unknown word of a translation by the source word with the most attention, or by its translation in
    the lexicon (Jean 2015; Luong 2015, "Addressing the Rare Word Problem"); for word tokenizers."""
    lexicon: str = ""
    """File of source words and their translations for replace_unknown: one pair on each line, separated by a tab."""

    @property
    def num_returned(self) -> int:
        """Translations returned per sentence."""
        return self.samples or self.n_best

    @property
    def num_hypotheses(self) -> int:
        """K, the hypotheses extended in parallel per sentence."""
        return self.samples or self.beam

    @property
    def independent(self) -> bool:
        """Hypotheses are extended independently of each other: sampling or greedy search."""
        return self.samples > 0 or self.beam == 1

    @property
    def needs_attention(self) -> bool:
        """The search needs the attention to the source."""
        return self.attention or self.replace_unknown or self.coverage_penalty > 0


def check(search: Decoding, tokenizer: str, attention: Attention | None, flags: str = "--decoding.") -> None:
    """Refuse settings of a search that contradict each other, the tokenizer or the model.

    Args:
        search: the settings to check.
        tokenizer: kind of the tokenizer.
        attention: the model's attention to the source; None if the model has no such setting.
        flags: prefix of the search's flags on the command line.

    Raises:
        UsageError: names the flag to change.
    """
    if search.lexicon and not search.replace_unknown:
        raise UsageError(f"{flags}lexicon has no effect without {flags}replace-unknown: add it or remove the lexicon")
    if search.replace_unknown and tokenizer != "word":
        raise UsageError(f"{flags}replace-unknown needs --tokenizer.kind=word: {tokenizer} has no unknown words")
    if search.needs_attention and attention is not None and attention.score == "none":
        flag = next(name for name in ("replace_unknown", "coverage_penalty", "attention") if getattr(search, name))
        raise UsageError(
            f"{flags}{flag.replace('_', '-')} needs attention, but the model has none (--model.attention.score=none)"
        )
    if search.n_best > search.num_hypotheses:
        flag = "samples" if search.samples else "beam"
        raise UsageError(
            f"{flags}n-best={search.n_best} exceeds {flags}{flag}={search.num_hypotheses}: raise {flags}{flag}"
        )
    defaults = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    changed = next((name for name, default in defaults.items() if getattr(search, name) != default), None)
    if changed is not None and not search.samples:
        raise UsageError(f"{flags}{changed.replace('_', '-')} applies to sampling only: add {flags}samples")
    if search.max_length and search.max_length <= search.min_length:
        raise UsageError(
            f"{flags}max-length={search.max_length} includes the end-of-sentence token, so it must exceed "
            f"{flags}min-length={search.min_length}"
        )
    if search.mbr != "none" and search.samples < 2 and search.n_best < 2:
        raise UsageError(f"{flags}mbr needs at least two candidates: raise {flags}samples or {flags}n-best")
