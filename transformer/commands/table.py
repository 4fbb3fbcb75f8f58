"""The commands by name, and what is known about them without importing them."""

from typing import NamedTuple


class Entry(NamedTuple):
    """Where a command is defined, and what is known about it without importing it."""

    options: str
    """Its options, `module:class` in `transformer.commands`."""
    summary: str
    computes: bool = True
    """Whether it runs a model for so long that huge pages matter."""
    uses_jax: bool = True


COMMANDS = {
    "train": Entry("train:Train", "Train a model."),
    "data inspect": Entry("data:Inspect", "Show what a recipe's data look like.", computes=False),
    "data prepare": Entry("data:Prepare", "Download, clean and tokenise the data of a recipe.", computes=False),
    "translate": Entry("translate:Translate", "Translate text."),
    "predict": Entry("predict:Predict", "Predict with a trained run of any task."),
    "score": Entry("score:Score", "Score given translations."),
    "evaluate": Entry("evaluate:Evaluate", "Score a run on its test set."),
    "align": Entry("align:Align", "Align words by attention."),
    "probe": Entry("probe:Probe", "Test whether read-outs are faithful."),
    "explain": Entry("explain:Explain", "Explain a trained model step by step, on one sentence."),
    "tokenize": Entry("tokenize:Tokenize", "Show how a run's tokenizer cuts text.", False, uses_jax=False),
    "export": Entry("export:Export", "Write a trained run for another toolkit.", computes=False),
    "import-model": Entry("import_model:ImportModel", "Import a model of Hugging Face as a run.", computes=False),
    "runs": Entry("runs:Runs", "List the runs of a folder.", False, uses_jax=False),
    "compare": Entry("compare:Compare", "Compare two runs.", computes=False),
    "study": Entry("study:Study", "Run the trials of a study that have no result yet."),
    "report": Entry("report:Report", "Make tables (Markdown, LaTeX) and figures of a study.", False, uses_jax=False),
    "demo": Entry("demo:Demo", "Train on the embedded grammar, then show the scores."),
    "completion": Entry(
        "completion:Completion", "Print the script with which a shell completes.", False, uses_jax=False
    ),
}

RECIPE_FIRST = ("train", "data inspect", "data prepare")
"""Commands whose options are the settings of the recipe that follows them."""

CHANGED_FIRST = (
    "--data.train",
    "--data.languages",
    "--tokenizer.vocabulary",
    "--batching.tokens",
    "--model.width",
    "--model.attention.score",
    "--model.dropout",
    "--schedule.peak",
    "--training.steps",
    "--seed",
)
"""The settings of a recipe that are changed most often; the help begins with them."""
