# The two commands of the README are `make demo` and `make test`; both start from plain Python 3.10-3.13 and git.
PYTHON ?= python3
BIN = .venv/bin
READY = .venv/.ready
WANTED = -c constraints.txt -e '.[dev]'

.PHONY: demo test lint prepare readme docs docs-check benchmark clean

$(READY): settings.ini setup.py pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	-$(BIN)/pip install -q --disable-pip-version-check uv
	@# uv does what pip does in a quarter of the time, but does not know pip's settings: where it fails, pip has a go.
	@# Compiled like pip's, or each process would do it where Python may not write bytecode: seconds for torch
	$(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python $(WANTED) || $(BIN)/pip install -q --disable-pip-version-check $(WANTED)
	touch $(READY)

demo: $(READY)  ## A thunderstorm's sound, and a film of it by each of the two engines
	mkdir -p out
	$(BIN)/sound-video data render out/world --scenes thunder --clips 1 --seconds 8 --seed 3
	$(BIN)/sound-video generate out/world/thunder/000003.mp4 -o out/demo.mp4 --class thunder
	$(BIN)/sound-video generate out/world/thunder/000003.mp4 -o out/demo-world.mp4 --pack world --class thunder
	@echo "Watch out/demo-world.mp4, drawn by the world's renderer, and out/demo.mp4, made by the generator"

test: $(READY)  ## Every notebook and every test, with a count
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder

lint: $(READY)  ## Lines of at most 120 columns, no unused or undefined names
	$(BIN)/ruff check -q .

prepare: $(READY) readme  ## Export, clean, lint, check the docs and test, before a commit
	$(BIN)/nbdev-export
	$(BIN)/nbdev-clean
	$(MAKE) lint docs-check test

readme: $(READY)  ## README.md from nbs/index.ipynb
	$(BIN)/python tools/readme.py

docs: $(READY)  ## The site, in _docs; needs the quarto program
	@command -v quarto > /dev/null || { echo 'The site is made by quarto: https://quarto.org/docs/get-started (`make docs-check` does without)'; exit 2; }
	OMP_NUM_THREADS=1 $(BIN)/nbdev-docs
	$(BIN)/python tools/finish_site.py _docs

docs-check: $(READY)  ## What can be proved of the site without quarto: pages, links, names, sidebar, README
	OMP_NUM_THREADS=1 $(BIN)/python tools/docs_check.py

benchmark: $(READY)  ## Side-by-side measurements
	for f in benchmarks/bench_*.py; do $(BIN)/python $$f || exit 1; done

clean:
	rm -rf .venv out build dist _proc _docs *.egg-info
