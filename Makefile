# The two commands: `make demo` and `make check`. meson does the work.
BUILD ?= build
PREFIX ?= /usr

all: deps-build
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) --prefix=$(PREFIX)
	@ninja -C $(BUILD)

deps-%:
	@scripts/deps $*

demo: deps-demo
	@demo/run.sh

check: deps-test
	@scripts/check

bench: deps-test all
	@scripts/bench $(BUILD)

install: all
	meson install -C $(BUILD) --no-rebuild

deb: deps-build
	@scripts/package $(BUILD)-deb .

clean:
	rm -rf build*/

.PHONY: all demo check bench install deb clean
