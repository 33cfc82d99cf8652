"""test_pages.py - What the pages of the site show: commands that are run, results that are kept, code, the glossary."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import IN_WEBASSEMBLY

DOCS = Path(__file__).resolve().parents[1] / "docs"
if IN_WEBASSEMBLY or not (DOCS / "builder").is_dir():
    pytest.skip("the docs lie in the repository, and what they show is run by processes", allow_module_level=True)
sys.path.insert(0, str(DOCS))
markdown = pytest.importorskip("markdown", reason="the dependency group docs is not installed")
pytest.importorskip("latex2mathml", reason="the dependency group docs is not installed")

from builder import code_blocks, directives, glossary, kept, summaries, transcripts  # noqa: E402
from builder.paths import PACKAGE, ROOT  # noqa: E402

# --- what is kept -------------------------------------------------------------------------------------------


@pytest.fixture
def repository_of_two(tmp_path, monkeypatch):
    """A repository with a module and a text, and a function that runs a program there: what it printed, how often."""
    monkeypatch.setattr(kept, "ROOT", tmp_path.resolve())
    monkeypatch.setattr(kept, "FOLDER", tmp_path.resolve() / ".cache")
    (tmp_path / "words.py").write_text("WORD = 'cat'\n")
    (tmp_path / "text.txt").write_text("the ")
    (tmp_path / "other.txt").write_text("not read")
    times = []

    def run(program="import words; print(open('text.txt').read() + words.WORD)"):
        def make(environment):
            times.append(program)
            return subprocess.check_output([sys.executable, "-c", program], cwd=tmp_path, env=environment, text=True)

        return kept.kept(["test", program], make).strip(), len(times)

    return tmp_path, run


def test_it_is_made_once(repository_of_two):
    folder, run = repository_of_two
    assert run() == ("the cat", 1)
    (folder / "other.txt").write_text("changed")
    assert run() == ("the cat", 1)


@pytest.mark.parametrize(
    ("name", "content", "result"), [("text.txt", "a ", "a cat"), ("words.py", "WORD = 'a dog'\n", "the a dog")]
)
def test_it_is_made_again_where_a_file_that_it_read_has_changed(repository_of_two, name, content, result):
    folder, run = repository_of_two
    run()
    # WHY twice: the second interpreter reads the compiled module, not its source.
    for file in (folder / ".cache").iterdir():
        file.unlink()
    assert run() == ("the cat", 2)
    (folder / name).write_text(content)
    assert run() == (result, 3)
    assert run() == (result, 3)


def test_what_another_process_reads_counts(repository_of_two):
    folder, run = repository_of_two
    child = "print(open('text.txt').read())"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    assert run(program) == ("the", 1)
    (folder / "text.txt").write_text("a")
    assert run(program) == ("a", 2)


def test_a_file_that_appears_counts(repository_of_two):
    folder, run = repository_of_two
    (folder / "texts").mkdir()
    program = "import os; print(len(os.listdir('texts')), os.path.exists('new.txt') and open('new.txt').read())"
    assert run(program) == ("0 False", 1)
    (folder / "texts" / "a.txt").write_text("a")
    assert run(program) == ("1 False", 2)
    tried = "\ntry: print(open('new.txt').read())\nexcept FileNotFoundError: print('none')"
    assert run(tried) == ("none", 3)
    (folder / "new.txt").write_text("here")
    assert run(tried) == ("here", 4)


def test_what_changes_while_it_is_read_is_not_kept(repository_of_two):
    _, run = repository_of_two
    program = "file = open('text.txt', 'r+'); print(file.read()); file.write('more')"
    assert run(program) == ("the", 1)
    assert run(program) == ("the more", 2)


def test_a_failure_is_not_kept(repository_of_two):
    folder, run = repository_of_two
    (folder / "text.txt").unlink()
    with pytest.raises(subprocess.CalledProcessError):
        run()
    (folder / "text.txt").write_text("now a ")
    assert run() == ("now a cat", 2)


# --- commands -----------------------------------------------------------------------------------------------


@pytest.fixture
def anew(tmp_path, monkeypatch):
    """Let nothing be kept beyond the test."""
    monkeypatch.setattr(kept, "FOLDER", tmp_path / "kept")


PAGE = """Before.

```script count.py
from pathlib import Path

Path("n.txt").write_text("3")
print("written")
```

```run
python -c "print(open('n.txt').read())"
! toy-gpt infer --base-dir nowhere
```

```session
n = int(open("n.txt").read())
for i in range(n):
    print(i)
n
```

After.
"""


@pytest.mark.usefixtures("anew")
def test_the_blocks_of_a_page_share_a_folder():
    shown = transcripts.run_blocks(PAGE)
    assert shown.startswith('Before.\n\n~~~~~~~~python title="count.py"\nfrom pathlib import Path\n')
    assert "\nuv run python count.py\n~~~~~~~~\n\n~~~~~~~~{ .text .output }\nwritten\n" in shown
    assert "{ .text .output }\n3\n" in shown
    assert "\nuv run toy-gpt infer --base-dir nowhere\n" in shown
    assert re.search(r"\.output \}\ntoy-gpt: error: .*nowhere", shown)
    assert ">>> for i in range(n):\n...     print(i)\n0\n1\n2\n>>> n\n3\n~~~~~~~~\n\nAfter.\n" in shown


@pytest.mark.usefixtures("anew")
@pytest.mark.parametrize(
    "block", ["run\npython -c 1/0", "session\n1 / 0", "script a.py\n1 / 0", "run\n! toy-gpt levels"]
)
def test_a_failure_ends_the_build(block):
    with pytest.raises(RuntimeError, match="ended with exit code"):
        transcripts.run_blocks(f"```{block}\n```\n")


@pytest.mark.parametrize(("lines", "shown"), [(6, 6), (8, 8), (9, 6), (100, 6)])
def test_output_is_folded_after_six_lines(lines, shown):
    text = [f"line {number}" for number in range(lines)]
    first, *others = transcripts.output("\n".join(text) + "\n")
    assert first.count("\n") - 1 == shown
    assert [line for part in (first, *others) for line in part.split("\n") if line.startswith("line")] == text
    assert (f"<summary>{lines - 6} more lines</summary>" in others) == (lines != shown)


def test_the_result_of_training_stays():
    log = ["model  bigram", *(f"{epoch:5}    1.0" for epoch in range(20)), "result  train loss 1.2", "wrote   5 files"]
    *folded, result = transcripts.output("\n".join(log))
    assert result == "~~~~~~~~{ .text .output }\nresult  train loss 1.2\nwrote   5 files\n~~~~~~~~"
    assert "<summary>15 more lines</summary>" in folded


# --- code ---------------------------------------------------------------------------------------------------


def test_code_without_docstrings_is_the_same_code():
    class Remove(ast.NodeTransformer):
        def visit(self, node):
            self.generic_visit(node)
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) and len(node.body) > 1:
                del node.body[0]
            return node

    seen = 0
    for path in PACKAGE.rglob("*.py"):
        code = path.read_text(encoding="utf-8")
        shown = directives.without_docstrings(code)
        assert ast.dump(ast.parse(shown)) == ast.dump(Remove().visit(ast.parse(code))), path
        assert shown.count("# ") <= code.count("# ")
        seen += '    """' in code
    assert seen > 100


def test_a_body_that_is_only_a_docstring_stays():
    code = 'class Odd(ValueError):\n    """Odd."""\n'
    assert directives.without_docstrings(code) == code


def test_lines_of_code_become_elements():
    page = "<p>a</p><pre><span></span><code>if x:\n    <b>y</b> &lt; 1\n\n</code></pre>"
    assert code_blocks.with_lines(page) == (
        '<p>a</p><pre><span></span><code><span class="line">if x:\n</span>'
        '<span class="line" style="--depth: 4">    <b>y</b> &lt; 1\n</span></code></pre>'
    )


def test_commands_are_broken_between_words():
    code = '<code><span class="go">a --b &quot;c</span>\n</code>'
    page = f'<div class="command highlight"><pre><span></span>{code}</pre></div>'
    words = "".join(f'<span class="word">{word}</span> ' for word in ("a", "--b", "&quot;c")).rstrip()
    assert f'<code><span class="line"><span class="go">{words}</span>\n</span></code>' in code_blocks.with_lines(page)


def test_nothing_of_a_block_is_lost():
    code = Path(inspect.getfile(code_blocks)).read_text(encoding="utf-8").rstrip("\n")
    html = markdown.markdown(f"```python\n{code}\n```", extensions=["pymdownx.superfences", "pymdownx.highlight"])
    found = code_blocks.with_lines(html)
    assert found.count('<span class="line') == code.count("\n") + 1
    assert re.sub(r"<[^>]*>", "", found) == re.sub(r"<[^>]*>", "", html)


# --- the extension ------------------------------------------------------------------------------------------


class _File:
    src_uri = "lessons/a.md"


class _Relpath(markdown.treeprocessors.Treeprocessor):
    """What MkDocs adds to the Markdown of a page."""

    file = _File()


def html_of(text, page="lessons/a.md"):
    """Return a page as HTML, as MkDocs would render it; or a docstring, where there is no page."""
    md = markdown.Markdown(extensions=["builder.extension", "md_in_html", "tables", "pymdownx.superfences"])
    if page:
        processor = _Relpath(md)
        processor.file.src_uri = page
        md.treeprocessors.register(processor, "relpath", 0)
    return md.convert(text)


def test_a_page_is_expanded_and_a_docstring_is_not():
    text = "{{ source errors:InputError }}\n\nAnd $x$.\n"
    assert "class InputError" in (shown := re.sub("<[^>]*>", "", html_of(text)))
    assert "{{" not in shown
    assert "<math" in html_of(text)
    assert "{{ source errors:InputError }}" in html_of(text, page=None)
    assert "<math" not in html_of(text, page=None)


def test_a_mistake_names_the_page():
    with pytest.raises(RuntimeError, match=r"docs/lessons/a\.md: .*Nonsense"):
        html_of("{{ source errors:Nonsense }}")


def test_a_button_leads_to_the_playground_from_any_page():
    for page, address in (("index.md", "playground/"), ("lessons/a.md", "../playground/")):
        assert f'href="{address}index.html?train=--model+bigram"' in html_of("```try\n--model bigram\n```", page)


# --- the glossary -------------------------------------------------------------------------------------------


def terms_in(html):
    return re.findall(r'<a class="term" href="(\S+)" title="[^"]+">(.+?)</a>', html)


def test_the_first_use_of_a_term_leads_to_the_glossary():
    html = html_of("A softmax. Then *softmax* of logits.\n\nThe logit, **loss** and `epoch`. Loss floor, loss.\n")
    assert terms_in(html) == [
        ("glossary.md#softmax", "softmax"),
        ("glossary.md#logit", "logits"),
        ("glossary.md#loss-floor", "Loss floor"),
        ("glossary.md#loss", "loss"),
    ]
    assert re.sub("<[^>]*>", "", html).startswith("A softmax. Then softmax of logits.")


def test_some_places_have_no_links():
    assert terms_in(html_of("# Softmax\n\n[softmax](x.md) `softmax` non-softmax softmaxes2\n")) == []
    assert terms_in(html_of("Softmax, and unigram.", "lessons/100-unigram.md")) == []  # it explains both
    assert [term for _, term in terms_in(html_of("Softmax.", "training.md"))] == ["Softmax"]
    assert "lessons/glossary.md#softmax" in html_of("Softmax.", "training.md")


def test_every_entry_of_the_glossary_has_an_anchor():
    text = (DOCS / glossary.PAGE).read_text(encoding="utf-8")
    html = html_of(text, glossary.PAGE)
    anchors = re.findall(r'<li id="([\w-]+)">', html)
    assert len(anchors) == len(set(anchors)) == text.count("\n- **")
    assert {glossary.anchor(name) for name in glossary.terms()} <= set(anchors)
    assert terms_in(html) == []


# --- the API pages ------------------------------------------------------------------------------------------


def test_every_module_is_on_one_page_of_the_api():
    pages = sorted((DOCS / "api").glob("*.md"))
    listed = [name for page in pages for name in summaries.documented(page)]
    assert len(listed) == len(set(listed))
    paths = [path.relative_to(PACKAGE.parent).with_suffix("") for path in PACKAGE.rglob("*.py")]
    modules = {".".join(path.parts).removesuffix(".__init__") for path in paths}
    left_out = modules - set(listed) - {"toy_gpt_train", "toy_gpt_train.__main__"}
    assert not left_out, f"name them on a page of docs/api/: {left_out}"
    assert set(listed) <= modules
    index = (DOCS / "api.md").read_text(encoding="utf-8")
    assert re.findall(r"\{\{ summary modules:(\S+) \}\}", index) == [
        Path(path).stem for path in re.findall(r"(api/\S+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.M)
    ]


def test_examples_and_commands_in_docstrings_are_code():
    pytest.importorskip("griffe", reason="the dependency group docs is not installed")
    from builder.docstrings import docstring_markdown

    text = "Round.\n\n>>> for x in (1,):\n...     [x]\n[1]\n\nRun it: python a.py [FILE]\n\nExample:\n    >>> 1\n    1"
    assert docstring_markdown(text) == (
        "Round.\n\n```pycon\n>>> for x in (1,):\n...     [x]\n[1]\n```\n\nRun it: `python a.py [FILE]`\n\n"
        "Examples:\n    >>> 1\n    1"
    )
