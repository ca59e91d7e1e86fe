"""Whether a plugin keeps the rules: it is used in every way that is allowed, and in every other.

For the tests of a plugin's author::

    import pytest
    from xma_plugins.conformance import Setup, check_scenario, scenarios

    @pytest.mark.parametrize("scenario", scenarios(MyFilter))
    def test_keeps_the_rules(scenario):
        check_scenario(MyFilter, scenario, Setup(format="nv12"), device="opencl")

``check_plugin(MyFilter)`` tries them all in one test; ``xtranscode plugins check`` is the same on
the command line. Layer contract of this package: nothing of xma_plugins imports it.
"""

from xma_plugins.conformance.check import Report, Result, check, check_plugin, check_scenario
from xma_plugins.conformance.replay import Difference, replay
from xma_plugins.conformance.rule import Broken, Rule
from xma_plugins.conformance.scenario import scenarios
from xma_plugins.conformance.setup import Setup
from xma_plugins.conformance.trace import Trace

__all__ = [
    "Broken",
    "Difference",
    "Report",
    "Result",
    "Rule",
    "Setup",
    "Trace",
    "check",
    "check_plugin",
    "check_scenario",
    "replay",
    "scenarios",
]
