import copy
import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import Any

import matplotlib
import pytest
from jinja2 import UndefinedError
from pydantic import ValidationError

from components.evaluate.report import render_report
from components.shared.contracts.drift import Drift
from components.shared.contracts.evaluation import Evaluation, ExampleUser

KS = [10, 100]
MISSING = "\N{EN DASH}"
HOSTILE = "<script>alert(1)</script>"
# How far each metric is from the hit rate, so that every number of the page is another.
OFFSETS = {"hit_rate": 0.0, "recall": 0.011, "ndcg": -0.023, "mrr": -0.037, "coverage": 0.051,
           "novelty": 0.061, "debiased_hit_rate": 0.071, "debiased_ndcg": 0.081}  # fmt: skip


def _metrics(hit_rate: float, ks: list[int] = KS) -> dict[str, float]:
    metrics = {
        f"{name}_at_{k}": hit_rate + offset + k / 1000
        for k in ks
        for name, offset in OFFSETS.items()
    }
    return {**metrics, "top_100_accuracy": hit_rate + 0.1003}


def _depth(layer_sizes: str, hit_rate: float, *, exported: bool = False) -> dict[str, Any]:
    return {
        "layer_sizes": layer_sizes,
        "exported": exported,
        "monitor": "recall_at_50_filtered",
        "validation": hit_rate + 0.2,
        "best_epoch": 4,
        "refit": False,
        "samples_per_second": 123_456,
        "device": "cpu: cpu",
        "test": {"raw": _metrics(hit_rate), "filtered": _metrics(hit_rate + 0.04)},
        "history": [
            {"epoch": 1, "loss": 7.25, "seconds": 2.0},
            {
                "epoch": 2,
                "loss": 6.5,
                "seconds": 1.0,
                "val_recall_at_50_raw": hit_rate,
                "val_recall_at_50_filtered": hit_rate + 0.1,
            },
            {"epoch": 3, "loss": 6.25, "seconds": 1.0},
            {
                "epoch": 4,
                "loss": 6.125,
                "seconds": 1.0,
                "val_recall_at_50_raw": hit_rate + 0.05,
                "val_recall_at_50_filtered": hit_rate + 0.2,
            },
        ],
    }


def _slice(by: str, value: str, relevant: int, model: float) -> dict[str, Any]:
    others = {"most_popular": 0.6007, "ease": 0.6408}
    return {"by": by, "value": value, "relevant": relevant, "model": model, **others}


_RAW = {"model": 0.4, "most_popular": 0.2, "ease": 0.3}


def _results() -> dict[str, Any]:
    return {
        "data": {
            "train": 70_101,
            "validation": 8_202,
            "test": 19_303,
            "queries": 1_404,
            "relevant": 4_505,
            "relevant_above": 0.75,
            "candidates": 2_606,
        },
        "ks": KS,
        "metrics": {
            "raw": {who: _metrics(value) for who, value in _RAW.items()},
            "filtered": {who: _metrics(value + 0.04) for who, value in _RAW.items()},
        },
        "baselines": {
            "settings": {
                "ease": {"weighting": "label", "l2": 200.0, "validation": 0.6543, "tried": 10}
            },
            "left_out": {"ials": "nobody has the time"},
        },
        "slices": [
            _slice("user's training interactions", "1 to 9", 1_234, 0.7101),
            _slice("user's training interactions", "10 to 49", 77, 0.5505),
            _slice("colour", "green & blue", 55, 0.8202),
        ],
        "depths": [
            _depth("16", 0.3001),
            _depth("64-16", 0.4, exported=True),
            _depth("256-64-16", 0.3502),
        ],
        "examples": [
            {
                "user": "u-17",
                "features": {"colour": "green & blue"},
                "interactions": 12,
                "liked": ["An old film", None],
                "relevant": 2,
                "recommended": [
                    {"title": "A found film", "score": 1.23456, "relevant": True},
                    {"title": "A missed film", "score": -0.5, "relevant": False},
                ],
            }
        ],
        "warnings": [],
        "headline": {
            "metric": "hit_rate_at_100",
            "protocol": "filtered",
            "model": 0.54,
            "most_popular": 0.34,
            "ease": 0.44,
            "lead": 0.2,
            "intervals": {
                "level": 0.95,
                "samples": 1_000,
                "users": 1_303,
                "of": {
                    "model": [0.52, 0.565],
                    "most_popular": [0.31, 0.36],
                    "ease": [0.42, 0.47],
                },
                "leads": {
                    "most_popular": {"value": 0.2, "interval": [0.17, 0.22]},
                    "ease": {"value": 0.1, "interval": [0.08, 0.13]},
                },
            },
            "margin": 0.05,
            "published_margin": 0.0,
            "published_version": None,
            "compared": False,
            "good_enough": True,
            "reasons": [],
        },
    }


def _render(results: dict[str, Any]) -> str:
    return render_report(Evaluation.model_validate(results))


@pytest.fixture
def results() -> dict[str, Any]:
    """Results for a test to change."""
    return _results()


@pytest.fixture(scope="module")
def html() -> str:
    """The report of the unchanged results."""
    return _render(_results())


class _Page(HTMLParser):
    """A page as a browser sees it: its elements, text, and table rows."""

    VOID = ("meta", "br", "path", "circle", "rect")

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(html)
        self.close()
        self.text = " ".join(self.text.split())
        self.rows = [[" ".join(cell.split()) for cell in row] for row in self.rows]

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in ("b", "span"):
            self.handle_data(" ")
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, text: str) -> None:
        if "style" in self.open:
            return
        self.text += text
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += text

    def row(self, first: str) -> list[str]:
        """The only row whose first cell is this."""
        (row,) = [row for row in self.rows if row and row[0] == first]
        return row

    @property
    def charts(self) -> list[str]:
        """The text alternatives of the charts."""
        return [
            attributes["aria-label"] or ""
            for tag, attributes in self.tags
            if tag == "svg" and attributes.get("role") == "img"
        ]


def test_the_verdict_says_what_was_reached_and_what_was_required(html: str) -> None:
    page = _Page(html)
    assert "✓ Good enough" in page.text
    assert "Not good enough" not in page.text
    assert (
        "The towers beat the strongest baseline, EASE: hit rate@100 (filtered) is 0.5400 against "
        "0.4400 (+0.1000, 95% interval +0.0800 to +0.1300). To be good enough, the model "
        "must beat most-popular: the lower end of the lead's 95% interval must be above 0 and "
        "reach 5% of its value. Its lead over "
        "most-popular is +0.2000, 95% interval +0.1700 to +0.2200."
    ) in page.text
    assert "model 0.5400 0.5200 to 0.5650 most-popular 0.3400 0.3100 to 0.3600" in page.text
    assert "EASE 0.4400 0.4200 to 0.4700" in page.text
    # most-popular, the margin, and from the lead to the lower end of its interval
    assert "at least 0.3870, most-popular's value plus the margin" in page.text


@pytest.mark.parametrize("refit", [False, True])
def test_the_page_says_which_splits_the_model_was_trained_on(
    results: dict[str, Any], refit: bool
) -> None:
    for depth in results["depths"]:
        depth["refit"] = refit
    page = _Page(_render(results))
    assert ("so to slightly more data than the model" in page.text) != refit
    assert ("Finally, the model was trained again" in page.text) == refit
    assert ("The ring marks the best epoch, whose weights were kept." in page.text) != refit


def test_a_model_that_is_behind_is_not_good_enough(results: dict[str, Any]) -> None:
    results["headline"].update(model=0.3, lead=-0.04, margin=0.0, good_enough=False)
    lead = {"value": -0.04, "interval": [-0.07, -0.01]}
    results["headline"]["intervals"]["leads"]["most_popular"] = lead
    page = _Page(_render(results))
    assert "✗ Not good enough" in page.text
    assert "✓ Good enough" not in page.text
    interval = "\N{MINUS SIGN}0.0700 to \N{MINUS SIGN}0.0100"
    assert f"is \N{MINUS SIGN}0.0400, 95% interval {interval}." in page.text
    assert "interval must be above 0. Its lead" in page.text


def test_whiskers_show_the_intervals(html: str) -> None:
    assert html.count('<div class="whisker"') == 3
    assert '<div class="whisker" style="left: 52.00%; width: 4.50%"></div>' in html


def test_baselines_are_listed_with_their_leads_and_settings(html: str) -> None:
    page = _Page(html)
    (popular,) = [row for row in page.rows if row[0] == "most-popular" and len(row) == 6]
    (ease,) = [row for row in page.rows if row[0] == "EASE" and len(row) == 6]
    assert popular[1:5] == ["0.3400", "0.3100 to 0.3600", "+0.2000", "+0.1700 to +0.2200"]
    assert ease[1:5] == ["0.4400", "0.4200 to 0.4700", "+0.1000", "+0.0800 to +0.1300"]
    assert ease[5].endswith("weighting by label, l2 200; 0.6543 on validation, the best of 10.")
    assert "iALS is left out: nobody has the time." in page.text
    assert (
        "1,303 users with relevant test interactions were resampled with replacement 1,000"
        in page.text
    )


def test_the_data_is_described(html: str) -> None:
    text = _Page(html).text
    for fact in (
        "Exported layer stack 64-16",
        "Rows: training 70,101",
        "Rows: validation 8,202",
        "Rows: test 19,303",
        "Test queries 1,404",
        "Relevant test interactions 4,505",
        "What counts as relevant label above 0.75",
        "Candidates 2,606",
    ):
        assert fact in text


def test_without_a_threshold_every_interaction_is_relevant(results: dict[str, Any]) -> None:
    results["data"]["relevant_above"] = None
    text = _Page(_render(results)).text
    assert "What counts as relevant every interaction" in text
    assert "label above 0.75" not in text


def _of_depths(page: _Page, who: str) -> list[str]:
    """The row of the depth table."""
    (row,) = [row for row in page.rows if row[0] == who and len(row) == 9]
    return row


def test_the_depth_table_marks_the_exported_stack_and_ends_with_most_popular(html: str) -> None:
    page = _Page(html)
    numbers = ["0.6000", "4", "0.5000", "0.5400", "0.5003", "0.5403", "123,456", "cpu"]
    assert page.row("64-16 exported")[1:] == numbers
    assert html.count('<tr class="exported">') == 1
    assert page.row("16")[1:3] == ["0.5001", "4"]
    most_popular = _of_depths(page, "most-popular")
    assert most_popular[3:7] == ["0.3000", "0.3400", "0.3003", "0.3403"]
    assert most_popular[1:3] == most_popular[7:] == [MISSING, MISSING]
    last = page.rows.index(page.row("256-64-16"))
    assert page.rows[last + 1 : last + 3] == [most_popular, _of_depths(page, "EASE")]
    assert "Validation: recall@50, filtered" in page.text


def test_a_device_keeps_its_kind(results: dict[str, Any]) -> None:
    results["depths"][0]["device"] = "gpu: NVIDIA H100"
    assert _Page(_render(results)).row("16")[-1] == "gpu: NVIDIA H100"


def test_metrics_are_listed_by_k_for_both_protocols(results: dict[str, Any]) -> None:
    results["ks"] = KS[::-1]
    page = _Page(_render(results))
    raw, filtered = [row for row in page.rows if row[0] == "NDCG"]
    assert raw[1:] == ["0.3870", "0.1870", "0.2870", "0.4770", "0.2770", "0.3770"]
    assert filtered[1:] == ["0.4270", "0.2270", "0.3270", "0.5170", "0.3170", "0.4170"]
    assert [row[0] for row in page.rows].count("coverage") == 2
    assert "keras.io example: model 0.5003, most-popular 0.3003, EASE 0.4003." in page.text


def test_the_highest_value_is_bold(results: dict[str, Any]) -> None:
    results["metrics"]["raw"]["most_popular"]["mrr_at_10"] = 0.9876
    html = _render(results)
    assert "<b>0.9876</b>" in html
    assert "<b>0.3730</b>" not in html  # the model's
    assert "<b>0.4130</b>" in html  # the model's, filtered


def test_slices_are_grouped_and_a_negative_lead_stands_out(html: str) -> None:
    page = _Page(html)
    assert page.row("1 to 9")[1:] == ["1,234", "", "0.7101", "0.6007", "0.6408", "+0.1094"]
    assert page.row("10 to 49")[-1] == "\N{MINUS SIGN}0.0502"
    assert page.row("green & blue")[1] == "55"
    assert html.count('class="number behind"') == 1
    assert "width: 71.01%" in html
    assert [attributes.get("aria-label") for _, attributes in page.tags].count(
        "Slices by user's training interactions"
    ) == 1


def test_example_users_show_history_and_marked_hits(html: str) -> None:
    text = _Page(html).text
    assert "User u-17 colour green & blue" in text
    assert "test split: 12. Relevant items in the test split: 2; among the first 2" in text
    assert "recommendations: 1." in text
    assert "An old film (no title)" in text
    assert "A found film ✓ hit 1.235" in text
    assert "A missed film \N{MINUS SIGN}0.500" in text


def test_warnings_are_shown_only_if_there_are_any(results: dict[str, Any]) -> None:
    assert "Warnings" not in _Page(_render(results)).text
    results["warnings"] = ["Feature colour has one value only."]
    assert "Warnings Feature colour has one value only." in _Page(_render(results)).text


def test_charts_have_text_alternatives(html: str) -> None:
    charts = _Page(html).charts
    assert len(charts) == 3 + 2 * len(OFFSETS)
    raw, filtered, loss = charts[:3]
    exported = "64-16 (exported): 0.4000 in epoch 2, 0.4500 in epoch 4."
    assert raw.startswith("Validation recall@50, raw by epoch.")
    assert exported in raw
    assert "64-16 (exported): 0.5000 in epoch 2, 0.6000 in epoch 4; epoch 4 was kept." in filtered
    assert "16: 7.2500 in epoch 1, 6.1250 in epoch 4." in loss
    assert (
        "hit rate, filtered, by k. At 10: model 0.4500, most-popular 0.2500, EASE 0.3500."
        in charts[3 + len(OFFSETS)]
    )


def test_charts_take_the_colours_of_the_page(html: str) -> None:
    svgs = re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL)
    drawn = {colour for svg in svgs for colour in re.findall(r"#[0-9a-f]{6}\b", svg)}
    assert not drawn, "a colour that does not change in dark mode"
    used = set(re.findall(r"var\((--[\w-]+)\)", html))
    defined = set(re.findall(r"(--[\w-]+):", html))
    assert {"--series-1", "--series-2", "--series-3", "--popular"} <= used <= defined


def test_ids_are_unique(html: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert ids
    assert len(ids) == len(set(ids))


def test_hostile_text_is_escaped(results: dict[str, Any]) -> None:
    example = results["examples"][0]
    example["user"] = example["liked"][0] = example["recommended"][0]["title"] = HOSTILE
    example["features"] = {HOSTILE: HOSTILE}
    results["slices"][0].update(by=f'"{HOSTILE}', value=HOSTILE)
    results["warnings"] = [HOSTILE]
    for depth in results["depths"]:
        depth.update(layer_sizes=f'"{HOSTILE}$x$', device=HOSTILE)
    html = _render(results)
    page = _Page(html)
    assert HOSTILE not in html
    assert page.text.count(HOSTILE) > 10
    assert page.text.count("$x$ (exported)") == 3, "a legend is no place for math"
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [name for _, attributes in page.tags for name in attributes if name[:2] == "on"]


def test_nothing_is_loaded(html: str) -> None:
    page = _Page(html)
    assert "http://" not in html
    assert "https://" not in html
    links = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "srcset", "data", "action")
    ]
    links += re.findall(r"url\(([^)]*)\)", html)
    assert links
    assert all(link and link.startswith("#") for link in links)
    assert "@import" not in html
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}


def test_references_inside_charts_lead_somewhere(html: str) -> None:
    ids = set(re.findall(r'\bid="([^"]+)"', html))
    references = set(re.findall(r'(?:url\(|href=")#([^)"]+)', html))
    assert references
    assert references <= ids


def test_the_same_results_give_the_same_page(results: dict[str, Any]) -> None:
    before = copy.deepcopy(results)
    first = _render(results)
    assert results == before
    # Settings of a notebook or a matplotlibrc do not count, and are not changed.
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": "other", "xtick.direction": "in"}):
        assert _render(results) == first
        assert matplotlib.rcParams["font.size"] == 30


def test_neither_pyplot_nor_tensorflow_is_imported() -> None:
    program = (
        "import sys, components.evaluate.report\n"
        "print([name for name in ('matplotlib.pyplot', 'tensorflow') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr


def _one_depth(results: dict[str, Any]) -> None:
    results["depths"] = results["depths"][1:2]


def _one_validation_point(results: dict[str, Any]) -> None:
    for depth in results["depths"]:
        depth["best_epoch"] = 2
        depth["history"] = depth["history"][1:2]


def _no_slices(results: dict[str, Any]) -> None:
    results["slices"] = []


def _no_examples(results: dict[str, Any]) -> None:
    results["examples"] = []


def _a_single_k(results: dict[str, Any]) -> None:
    results["ks"] = [100]


def _no_top_100_accuracy(results: dict[str, Any]) -> None:
    for by_who in results["metrics"].values():
        for values in by_who.values():
            del values["top_100_accuracy"]
    for depth in results["depths"]:
        for values in depth["test"].values():
            del values["top_100_accuracy"]


def _many_depths(results: dict[str, Any]) -> None:
    results["depths"] = [_depth(str(units), 0.3, exported=units == 8) for units in range(1, 10)]


def _nothing_is_found(results: dict[str, Any]) -> None:
    for by_who in results["metrics"].values():
        for who, values in by_who.items():
            by_who[who] = dict.fromkeys(values, 0.0)


def _nothing_recommended(results: dict[str, Any]) -> None:
    results["examples"][0].update(recommended=[], liked=[], features={}, interactions=0)


@pytest.mark.parametrize(
    ("change", "absent", "present"),
    [
        (_one_depth, "256-64-16", "64-16 exported"),
        (_one_validation_point, "in epoch 4", "Training, epoch by epoch"),
        (_no_slices, "Slices of the test split", "Metrics by k"),
        (_no_examples, "Example users", "Metrics by k"),
        (_a_single_k, "k = 10 ", "k = 100 "),
        (_no_top_100_accuracy, "op-100 accuracy", "Metrics by k"),
        (_many_depths, "64-16", "8 exported"),
        (_nothing_is_found, "0.4770", "At 10: model 0.0000, most-popular 0.0000, EASE 0.0000."),
        (_nothing_recommended, "✓ hit", "Nothing: the user has interacted with every candidate."),
    ],
)
def test_parts_without_content_are_left_out(
    html: str, results: dict[str, Any], change: Any, absent: str, present: str
) -> None:
    assert absent in _all_text(html)
    change(results)
    changed = _render(results)
    text = _all_text(changed)
    assert absent not in text
    assert present in text
    assert not re.search(r"\b(nan|inf|None|Undefined)\b", text)
    assert not re.search(r"\bnan\b", changed), "a chart has a point without a place"


def _all_text(html: str) -> str:
    page = _Page(html)
    assert not page.open, "an element is not closed"
    return " ".join([page.text, *page.charts])


def test_an_unknown_speed_is_shown_as_missing(results: dict[str, Any]) -> None:
    results["depths"][0]["samples_per_second"] = None
    html = _render(results)
    assert not re.search(r"\bNone\b", _all_text(html))
    assert _Page(html).row("16")[-2] == MISSING


def test_a_number_that_is_not_finite_is_refused(results: dict[str, Any]) -> None:
    results["depths"][0]["validation"] = float("nan")
    with pytest.raises(ValidationError, match=r"depths\.0\.validation"):
        _render(results)


def test_a_result_that_is_missing_is_an_error(results: dict[str, Any]) -> None:
    evaluation = Evaluation.model_validate(results)
    del results["examples"][0]["user"]
    incomplete = ExampleUser.model_construct(**results["examples"][0])
    with pytest.raises(UndefinedError, match="user"):
        render_report(evaluation.model_copy(update={"examples": [incomplete]}))


VERSION = "shop-0123456789ab"


def _publish(results: dict[str, Any], hit_rate: float, **headline: Any) -> None:
    """Add a published model to the results; the model's headline value is 0.54."""
    for protocol, by_who in results["metrics"].items():
        by_who["published"] = _metrics(hit_rate - (0.04 if protocol == "raw" else 0))
    for part in results["slices"]:
        part["published"] = 0.4504
    intervals = results["headline"]["intervals"]
    intervals["of"]["published"] = [hit_rate + 0.09, hit_rate + 0.11]
    lead = 0.44 - hit_rate
    intervals["leads"]["published"] = {"value": lead, "interval": [lead - 0.03, lead + 0.03]}
    results["headline"].update(
        compared=True, published=hit_rate + 0.1, published_version=VERSION, **headline
    )


def test_without_a_published_model_the_page_does_not_mention_one(html: str) -> None:
    assert "ublished" not in _all_text(html)
    assert 'class="reasons"' not in html
    assert 'class="bar published"' not in html


def test_the_published_model_is_beside_the_others_in_the_verdict(results: dict[str, Any]) -> None:
    _publish(results, 0.4102)

    html = _render(results)

    page = _Page(html)
    assert "EASE 0.4400 0.4200 to 0.4700 published 0.5102 0.5002 to 0.5202" in page.text
    interval = "95% interval \N{MINUS SIGN}0.0002 to +0.0598"
    assert f"published model is +0.0298, {interval}. The lead itself must be" in page.text
    assert f"The published model is {VERSION}, measured on the same test split." in page.text
    assert "✓ Good enough" in page.text
    assert 'class="bar published" style="width: 51.02%"' in html
    assert 'class="reasons"' not in html


def test_the_mark_is_at_the_required_value(results: dict[str, Any]) -> None:
    # most-popular, its margin, and from the lead to the lower end of its interval
    assert "at least 0.3870" in _Page(_render(results)).text
    _publish(results, 0.4102, published_margin=0.01)

    html = _render(results)

    assert "at least 0.5202" in _Page(html).text
    assert 'class="needed" style="left: 52.02%"' in html


def test_the_mark_is_at_most_popular_if_that_requires_more(
    results: dict[str, Any],
) -> None:
    _publish(results, 0.0102)

    assert "at least 0.3870" in _Page(_render(results)).text


def test_the_depth_table_ends_with_the_published_model_and_most_popular(
    results: dict[str, Any],
) -> None:
    _publish(results, 0.4102)

    page = _Page(_render(results))

    published = page.row("published model")
    assert published[1:3] == published[7:] == [MISSING, MISSING]
    assert published[3:7] == ["0.4702", "0.5102", "0.4705", "0.5105"]
    last = page.rows.index(page.row("256-64-16"))
    assert page.rows[last + 1 : last + 3] == [published, _of_depths(page, "most-popular")]


def test_all_reasons_are_listed(results: dict[str, Any]) -> None:
    reasons = ["it is 0.1 behind most-popular", "the published one has 0.9; the margin is 0"]
    _publish(results, 0.8, good_enough=False, reasons=reasons)

    html = _render(results)

    assert html.count("<li>it is 0.1 behind most-popular.</li>") == 1
    assert html.count("<li>the published one has 0.9; the margin is 0.</li>") == 1
    assert "✗ Not good enough" in _Page(html).text


def test_a_published_model_that_was_not_measured_is_in_the_reasons_only(
    results: dict[str, Any],
) -> None:
    reason = f"it cannot be compared with the published {VERSION}: it takes plan"
    results["headline"].update(published_version=VERSION, good_enough=False, reasons=[reason])

    html = _render(results)

    text = _all_text(html)
    assert f"{reason}." in text
    assert "The published model is" not in text
    assert 'class="bar published"' not in html
    assert not re.search(r"\b(nan|None|Undefined)\b", text)


_DRIFT = {
    "version": "shop-1",
    "moved": [
        {
            "table": "interactions", "column": "plan", "change": "new values", "values": ["trial"],
            "published": "0.0%", "now": "50.0%", "limit": "up to 5.0%", "breaks": True,
        },
        {
            "table": "candidates", "change": "rows", "published": "2,000", "now": "1,200",
            "limit": "1,000 to 6,000", "breaks": False,
        },
    ],
}  # fmt: skip


def _with_drift(results: dict[str, Any], drift: dict[str, Any]) -> _Page:
    return _Page(render_report(Evaluation.model_validate(results), Drift.model_validate(drift)))


def test_what_moved_in_the_data_is_a_table_with_its_breaks(results: dict[str, Any]) -> None:
    page = _with_drift(results, _DRIFT)

    assert "Data since the published model" in page.text
    assert page.row("interactions") == [
        "interactions", "plan", "new values: trial break", "0.0%", "50.0%", "up to 5.0%",
    ]  # fmt: skip
    assert page.row("candidates") == [
        "candidates", "-", "rows", "2,000", "1,200", "1,000 to 6,000",
    ]  # fmt: skip


def test_data_that_has_not_moved_is_one_sentence(results: dict[str, Any]) -> None:
    page = _with_drift(results, {"version": "shop-1"})

    assert "Nothing differs noticeably" in page.text
    assert "What moved" not in page.text


@pytest.mark.parametrize(
    "drift", [{}, {"version": "shop-1", "reason": "it was published without profile.json"}], ids=str
)
def test_data_that_was_not_compared_is_not_mentioned(
    results: dict[str, Any], drift: dict[str, Any], html: str
) -> None:
    page = _with_drift(results, drift)

    assert "since the published model" not in page.text
    assert page.text == _Page(html).text


def test_hostile_values_of_the_data_are_escaped(results: dict[str, Any]) -> None:
    moved = {**_DRIFT["moved"][0], "values": [HOSTILE], "column": HOSTILE}  # type: ignore[dict-item]
    page = render_report(
        Evaluation.model_validate(results),
        Drift.model_validate({"version": "shop-1", "moved": [moved]}),
    )

    assert HOSTILE not in page
    assert "&lt;script&gt;" in page


def test_a_hostile_version_is_escaped(results: dict[str, Any]) -> None:
    _publish(results, 0.8, good_enough=False, reasons=[f"the published {HOSTILE} has 0.9"])
    results["headline"]["published_version"] = f'"{HOSTILE}'

    html = _render(results)

    page = _Page(html)
    assert HOSTILE not in html
    assert page.text.count(HOSTILE) == 2
    assert "script" not in {tag for tag, _ in page.tags}
