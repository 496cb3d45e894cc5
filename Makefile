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

# With what takes its time: more faults, measured loads, the coverage.
check-all: deps-test
	@CHECK_ALL=1 scripts/check

# The same on real services; see test/openstack.
check-openstack:
	@scripts/check-openstack

bench: deps-test all
	@scripts/bench $(BUILD)
	@scripts/bench-backup $(BUILD)
	@scripts/bench-stream $(BUILD)

# An hour of churn on the streaming server; SOAK_SECONDS=600 for another time.
soak: deps-test all
	@SOAK_SECONDS=$${SOAK_SECONDS:-3600} /usr/bin/python3 test/story/stream_soak.py $(BUILD)

install: all
	meson install -C $(BUILD) --no-rebuild

deb: deps-build
	@scripts/package $(BUILD)-deb .

clean:
	rm -rf build*/

.PHONY: all demo check check-all check-openstack bench soak install deb clean
