"""Questions and datasets for tests, one of each kind and of each format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plimsoll.catalogue.entries import CorrectnessRule, Dataset, DatasetSchema, Origin
from plimsoll.dataset.example import AnswerKind, Example


def example_of(*golds: tuple[str, ...], kind: AnswerKind = AnswerKind.TEXT) -> Example:
    """A question with these golds, one tuple of synonyms for each item."""
    return Example(id="validation-0", question="Which one is it?", context="", kind=kind, golds=golds)


NO_ANSWER = example_of(kind=AnswerKind.UNANSWERABLE)


def dataset_of(schema: DatasetSchema, **changes: Any) -> Dataset:
    """A dataset of a format, with nothing known of its splits."""
    fields: dict[str, Any] = {
        "id": {DatasetSchema.TRIVIA_QA: "triviaqa", DatasetSchema.SQUAD_V2: "squad", DatasetSchema.NQ_OPEN: "nq"}.get(
            schema, schema.value
        ),
        "title": "",
        "schema": schema,
        "hub_id": None,
        "config": None,
        "revision": None,
        "split": "validation",
        "shots_split": "train",
        "licence": "MIT",
        "registration": None,
        "prompt": "Question: {question}\nAnswer:",
        "stop": "\n",
        "max_new_tokens": 8,
        "correct": CorrectnessRule(metric="exact_match", at_least=1),
        "miniature": None,
        "origin": Origin(file=Path("catalogue/datasets.toml"), key="dataset[0]"),
    }
    return Dataset(**{**fields, **changes})


HUB_ROWS: Mapping[DatasetSchema, tuple[dict[str, Any], ...]] = {
    DatasetSchema.TRIVIA_QA: (
        {
            "question": "Which American-born Sinclair won the Nobel Prize for Literature in 1930?",
            "question_id": "tc_1",
            "question_source": "http://www.triviacountry.com/",
            "entity_pages": {"title": [], "wiki_context": []},
            "answer": {
                "aliases": ["(Harry) Sinclair Lewis", "Sinclair Lewis", "SINCLAIR LEWIS"],
                "normalized_aliases": ["harry sinclair lewis", "sinclair lewis"],
                "matched_wiki_entity_name": "",
                "normalized_value": "sinclair lewis",
                "type": "WikipediaEntity",
                "value": "Sinclair Lewis",
            },
        },
    ),
    DatasetSchema.SQUAD_V2: (
        {
            "id": "q1",
            "title": "Normans",
            "context": "The Normans were the people who in the 10th and 11th centuries gave their name to Normandy.",
            "question": "Where did the Normans give their name to?",
            "answers": {"text": ["Normandy", "Normandy"], "answer_start": [82, 82]},
        },
        {
            "id": "q2",
            "title": "Normans",
            "context": "The Normans were the people who in the 10th and 11th centuries gave their name to Normandy.",
            "question": "Who gave their name to Normandy in the 1000's and 1100's?",
            "answers": {"text": [], "answer_start": []},
        },
    ),
    DatasetSchema.NQ_OPEN: (
        {
            "question": "when was the last time anyone was on the moon",
            "answer": ["14 December 1972 UTC", "December 1972"],
        },
    ),
    DatasetSchema.SVAMP: (
        {
            "ID": "chal-1",
            "Body": "Each pack of dvds costs 76 dollars. If there is a discount of 25 dollars on each pack ",
            "Question": "How much do you have to pay to buy each pack?",
            "Equation": "( 76.0 - 25.0 )",
            "Answer": "51.0",
            "Type": "Subtraction",
        },
    ),
    DatasetSchema.BIOASQ: (
        {"id": "b1", "body": "Is BRCA1 a gene?", "type": "yesno", "exact_answer": "Yes", "ideal_answer": ["Yes."]},
        {"id": "b2", "body": "Which gene?", "type": "factoid", "exact_answer": [["BRCA1"], ["Breast cancer 1"]]},
        {"id": "b3", "body": "Which drugs?", "type": "list", "exact_answer": [["aspirin", "ASA"], ["ibuprofen"]]},
        {"id": "b4", "body": "What is it?", "type": "summary", "ideal_answer": ["A thing."]},
    ),
}
"""Rows as the Hub has them, of the fields that the dataset cards show."""

_SQUAD = HUB_ROWS[DatasetSchema.SQUAD_V2]

OFFICIAL: Mapping[DatasetSchema, Any] = {
    DatasetSchema.TRIVIA_QA: {
        "Data": [
            {
                "Question": HUB_ROWS[DatasetSchema.TRIVIA_QA][0]["question"],
                "QuestionId": "tc_1",
                "Answer": {
                    "Value": "Sinclair Lewis",
                    "Aliases": ["(Harry) Sinclair Lewis", "Sinclair Lewis", "SINCLAIR LEWIS"],
                    "NormalizedAliases": ["harry sinclair lewis", "sinclair lewis"],
                    "NormalizedValue": "sinclair lewis",
                },
            }
        ],
        "Domain": "Web",
    },
    DatasetSchema.SQUAD_V2: {
        "version": "v2.0",
        "data": [
            {
                "title": "Normans",
                "paragraphs": [
                    {
                        "context": _SQUAD[0]["context"],
                        "qas": [
                            {
                                "id": "q1",
                                "question": _SQUAD[0]["question"],
                                "answers": [{"text": "Normandy", "answer_start": 82} for _ in range(2)],
                                "is_impossible": False,
                            },
                            {
                                "id": "q2",
                                "question": _SQUAD[1]["question"],
                                "answers": [],
                                "plausible_answers": [{"text": "Normans", "answer_start": 4}],
                                "is_impossible": True,
                            },
                        ],
                    }
                ],
            }
        ],
    },
    DatasetSchema.NQ_OPEN: HUB_ROWS[DatasetSchema.NQ_OPEN],
    DatasetSchema.SVAMP: [{**HUB_ROWS[DatasetSchema.SVAMP][0], "Answer": 51.0}],
    DatasetSchema.BIOASQ: {"questions": HUB_ROWS[DatasetSchema.BIOASQ]},
}
"""The same as the official files have them."""
