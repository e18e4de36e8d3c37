# Two commands set everything up: `make demo` and `make test`.
PYTHON ?= python3
export PYTHON

.PHONY: install demo demo-previs demo-plate test check serve clean

install: .venv/installed

.venv/installed: pyproject.toml clients/python/pyproject.toml scripts/install scripts/system-packages
	scripts/install
	@touch $@

demo: install
	scripts/demo

demo-previs: install
	scripts/demo-previs

demo-plate: install
	scripts/demo-plate

test: install
	scripts/test

check: install
	scripts/check

serve: install
	.venv/bin/python -m services.server --config cpu

clean:
	rm -rf .venv demo
