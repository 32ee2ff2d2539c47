"""`plimsoll uncertainty RUN...`: computes from evidence whether models knew when they were wrong. No GPU, no model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from plimsoll.catalogue.entries import CorrectnessRule
from plimsoll.commands.parser import add_report_dir
from plimsoll.errors import PlimsollError
from plimsoll.evidence.reader import read_runs
from plimsoll.evidence.record import RunRecord
from plimsoll.evidence.run_folder import find_run
from plimsoll.extras import require
from plimsoll.suite import program_here
from plimsoll.uncertainty.scores import TokenScore

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from plimsoll.uncertainty.measuring import Settings
    from plimsoll.uncertainty.relevance import Similarity

NOTHING_ASKED: Final = 5
UNMEASURED: Final = 6

_DESCRIPTION: Final = """\
Read what runs recorded of datasets, and compute how unsure the models were of each answer and how well that tells
wrong answers from right ones (AUROC), with intervals. Models and scores are compared by tests, and tables and pictures
show the results. Several runs are taken together; where two asked the same, the newest that is complete counts."""

_EPILOG: Final = """\
scores (higher means less sure; the first is the one that models are compared by):
  g_nll               minus the log-probability of the whole answer
  rw_g_nll            the same, tokens weighted by their relevance
  mean_nll            g_nll over the number of tokens
  perplexity          exp(mean_nll)
  predictive_entropy  mean over answers drawn at random; needs a run that drew some

exit status:
  0    done, and everything that was asked has an AUROC of the first score
  2    usage error, or evidence that cannot be read
  5    the runs asked no dataset
  6    something that was asked has none: answers are missing, too few, or all of
       one kind; the output says which and why
"""

_CROSS_ENCODER: Final = "cross-encoder"


def add_parser(subparsers: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    parser = subparsers.add_parser(
        "uncertainty",
        help="compute whether models knew when they were wrong",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run_names", nargs="+", metavar="RUN", help="a run folder, an evidence file, a run id, or `latest`"
    )
    parser.add_argument(
        "--output",
        "--out",
        dest="out",
        type=Path,
        metavar="DIR",
        help="write the files here (default: `uncertainty` in the run's folder; needed for several runs)",
    )
    parser.add_argument(
        "--score",
        action="append",
        type=TokenScore,
        choices=list(TokenScore),
        metavar="SCORE",
        help="a score to compute (repeatable; default: all, models compared by g_nll)",
    )
    parser.add_argument(
        "--similarity",
        default="lexical",
        metavar="KIND",
        help="what relevance in rw_g_nll is measured by: `lexical`, the words that texts share (default), or "
        "`cross-encoder[=MODEL]`, a model of sentence-transformers from the Hub or a folder",
    )
    parser.add_argument(
        "--correct",
        type=_rule,
        metavar="'METRIC>=X'",
        help="count an answer as right by this rule instead of the dataset's own, such as 'rouge_l>=0.3' or "
        "'exact_match>=1'; quote it, or the shell redirects",
    )
    parser.add_argument("--without-end", action="store_true", help="leave out the token that ended the answer")
    parser.add_argument("--json", action="store_true", help="print uncertainty.json instead of tables")
    add_report_dir(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Analyse, write the files, print. Raises PlimsollError for what the user can mend."""
    require("uncertainty", "uncertainty", ("numpy", "scipy", "matplotlib"))
    runs = [find_run(name, options.report_dir) for name in options.run_names]
    record = read_runs(runs)
    if not record.askings:
        asked = f"{program_here()} -m dataset"
        sys.stderr.write(f"nothing to analyse: these runs asked no dataset; run {asked} first\n")
        return NOTHING_ASKED
    folder = _folder(options.out, record, several=len(runs) > 1)
    from plimsoll.uncertainty.analysis import analyse
    from plimsoll.uncertainty.data import analysis_text
    from plimsoll.uncertainty.document import terminal_lines
    from plimsoll.uncertainty.write import write_analysis

    analysis = analyse(record, _setting(options))
    not_drawn = write_analysis(analysis, folder)
    if options.json:
        sys.stdout.write(analysis_text(analysis))
    else:
        lines = [*terminal_lines(analysis), *not_drawn, f"written: {folder}"]
        sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()
    return UNMEASURED if analysis.unmeasured else 0


def _setting(options: argparse.Namespace) -> Settings:
    from plimsoll.uncertainty.measuring import Settings

    return Settings(
        scores=tuple(dict.fromkeys(options.score)) if options.score else tuple(TokenScore),
        similarity=_similarity(options.similarity),
        with_end=not options.without_end,
        rule=options.correct,
    )


def _similarity(text: str) -> Similarity:
    kind, _, model = text.partition("=")
    if text == "lexical":
        from plimsoll.uncertainty.relevance import LexicalSimilarity

        return LexicalSimilarity()
    if kind == _CROSS_ENCODER and (model or "=" not in text):
        from plimsoll.uncertainty.cross_encoder import DEFAULT_MODEL, CrossEncoderSimilarity

        return CrossEncoderSimilarity(model or DEFAULT_MODEL)
    raise PlimsollError(f"--similarity {text!r}: it is `lexical`, `cross-encoder` or `cross-encoder=MODEL`")


def _folder(out: Path | None, record: RunRecord, *, several: bool) -> Path:
    if out is None and several:
        raise PlimsollError("what several runs say belongs into no run's folder: name one with --out DIR")
    return record.folder / "uncertainty" if out is None else out


def _rule(text: str) -> CorrectnessRule:
    """`rouge_l>=0.3`; argparse turns the error into a usage error that names the option."""
    metric, sign, bound = (part.strip() for part in text.partition(">="))
    try:
        at_least = float(bound)
    except ValueError:
        at_least = -1.0
    if not metric or not sign or not 0.0 <= at_least <= 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a score and a bound from 0 to 1, such as 'rouge_l>=0.3'")
    return CorrectnessRule(metric=metric, at_least=at_least)
