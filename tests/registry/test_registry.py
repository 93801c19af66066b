"""Registries over real distributions: folders with dist-info that stand on the import path."""

import io
import sys

import pytest
from rich.console import Console

from gcc.cli.tables import plugin_table
from gcc.errors import ClashError, ContractError, PluginError
from gcc.registry import (
    ARCHITECTURES,
    DATASETS,
    DISTILLERS,
    EVALUATORS,
    METRICS,
    REGISTRIES,
    RUNTIMES,
    SELECTORS,
    TASKS,
    ImportanceMetric,
    MetricKey,
    implements,
    unit_of,
)
from gcc.registry.registry import Listing, Registry

GROUP = "gcc_test_plugins.things"

GOOD = '''
from gcc.registry import ImportanceMetric

class Good(ImportanceMetric):
    """Scores with care.

    And at length.
    """
    l1_strength = 1.0
    def score(self, network, group): return None
    def regularized_parameters(self, network, group): return ()

class Undocumented(Good):
    l1_strength = 2.0
'''


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that puts a distribution with modules and entry points on the import path."""
    names = []

    def put(distribution, entries, modules, metadata=True, group=GROUP, version="1.2"):
        home = tmp_path / distribution
        info = home / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(parents=True)
        if metadata:
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for name, source in modules.items():
            (home / f"{name}.py").write_text(source)
            names.append(name)
        monkeypatch.syspath_prepend(str(home))

    yield put
    for name in names:
        sys.modules.pop(name, None)


def things(check=None, contract=1):
    return Registry("thing", GROUP, check or implements(ImportanceMetric), contract)


def test_nothing_is_imported_before_load(install):
    install("gan-good", {"good": "gan_good_mod:Good"}, {"gan_good_mod": GOOD})
    registry = things()
    assert registry.names() == ["good"]
    assert "gan_good_mod" not in sys.modules
    plugin = registry.load("good")
    assert plugin is sys.modules["gan_good_mod"].Good
    assert registry.load("good") is plugin


def test_where_a_plugin_comes_from_is_told_without_importing_it(install):
    install("dist-of-it", {"fine": "of_it:Good"}, {"of_it": "raise AssertionError"})
    assert things().origin("fine") == "dist-of-it 1.2"
    with pytest.raises(PluginError, match="unknown thing 'fin'"):
        things().origin("fin")


def test_only_what_is_asked_for_is_imported(install):
    install("gan-two", {"a": "gan_two_a:Good", "b": "gan_two_b:Good"}, {"gan_two_a": GOOD, "gan_two_b": GOOD})
    things().load("b")
    assert "gan_two_b" in sys.modules and "gan_two_a" not in sys.modules


def test_the_check_sees_the_plugin_once(install):
    install("gan-good", {"good": "gan_checked_mod:Good"}, {"gan_checked_mod": GOOD})
    seen = []
    registry = things(seen.append)
    registry.load("good")
    registry.load("good")
    assert [plugin.__name__ for plugin in seen] == ["Good"]


def test_unknown_names_suggest_near_ones(install):
    install("gan-good", {"fancy-metric": "gan_near_mod:Good", "other": "gan_near_mod:Good"}, {"gan_near_mod": GOOD})
    with pytest.raises(PluginError, match=r"unknown thing 'fancy-metrik' \(did you mean 'fancy-metric'\?\)"):
        things().load("fancy-metrik")
    with pytest.raises(PluginError, match=r"unknown thing 'zzz' \(known: fancy-metric, other\)"):
        things().load("zzz")
    assert "gan_near_mod" not in sys.modules


def test_an_empty_group_says_so():
    registry = Registry("thing", "gcc_test_plugins.empty", lambda plugin: None)
    assert registry.names() == [] and list(registry.listings()) == []
    with pytest.raises(PluginError, match="there are none"):
        registry.load("x")


def test_a_clash_names_both_owners_and_neither_wins(install):
    install("gan-one", {"same": "gan_clash_one:Good"}, {"gan_clash_one": GOOD}, version="1.0")
    install("gan-two", {"same": "gan_clash_two:Good", "own": "gan_clash_two:Good"}, {"gan_clash_two": GOOD}, version="2.0")
    registry = things()
    assert registry.names() == ["own", "same"]
    with pytest.raises(PluginError) as caught:
        registry.load("same")
    assert "gan-one 1.0" in str(caught.value) and "gan-two 2.0" in str(caught.value) and "'same'" in str(caught.value)
    assert not {"gan_clash_one", "gan_clash_two"} & sys.modules.keys()
    assert registry.load("own").__name__ == "Good"
    lines = [line for line in registry.listings() if line.name == "same"]
    assert {line.distribution for line in lines} == {"gan-one", "gan-two"}
    assert all(
        isinstance(line.fault, ClashError) and "gan-one 1.0" in str(line.fault) and "gan-two 2.0" in str(line.fault) for line in lines
    )


def test_a_clash_is_one_even_when_both_name_the_same_object(install):
    install("gan-one", {"same": "gan_shared:Good"}, {"gan_shared": GOOD})
    install("gan-two", {"same": "gan_shared:Good"}, {})
    with pytest.raises(PluginError, match="gan-two.*gan-one|gan-one.*gan-two"):
        things().load("same")


@pytest.mark.parametrize(("source", "value", "reason"), [
    ("import does_not_exist_anywhere", "broken_a:Good", "ModuleNotFoundError.*does_not_exist_anywhere"),
    ("1 / 0", "broken_b:Good", "ZeroDivisionError"),
    ("def (", "broken_c:Good", "SyntaxError"),
    (GOOD, "broken_d:Missing", "AttributeError.*Missing"),
    (GOOD, "no_such_module_here:Good", "ModuleNotFoundError"),
    ("raise RuntimeError('needs a GPU')", "broken_e:Good", "RuntimeError: needs a GPU"),
    ("Good = 3", "broken_f:Good", "ImportanceMetric"),
    ("class Good: pass", "broken_g:Good", "ImportanceMetric"),
])  # fmt: skip
def test_a_broken_plugin_breaks_only_itself(install, source, value, reason):
    module = value.partition(":")[0]
    install("gan-broken", {"broken": value}, {module: source} if module.startswith("broken") else {}, version="0.9")
    install("gan-good", {"good": "gan_beside_mod:Good"}, {"gan_beside_mod": GOOD})
    registry = things()
    with pytest.raises(PluginError, match=reason) as caught:
        registry.load("broken")
    assert "'broken'" in str(caught.value) and "gan-broken 0.9" in str(caught.value)
    assert registry.load("good").__name__ == "Good"
    broken, good = registry.listings()
    assert (broken.name, broken.distribution, broken.version, broken.summary) == ("broken", "gan-broken", "0.9", "")
    assert "gan-broken 0.9" in str(broken.fault) and broken.fault.status == "broken"
    assert good == Listing("good", "gan-good", "1.2", "Scores with care.")


def test_a_broken_plugin_is_not_remembered_as_working(install):
    install("gan-broken", {"broken": "broken_twice:Good"}, {"broken_twice": "class Good: pass"})
    registry = things()
    for _ in range(2):
        with pytest.raises(PluginError):
            registry.load("broken")


def test_contract_violations_name_method_class_and_distribution(install):
    source = "from gcc.registry import ImportanceMetric\nclass Half(ImportanceMetric):\n    def score(self, network, group): ...\n"
    install("gan-half", {"half": "gan_half_mod:Half"}, {"gan_half_mod": source}, version="3.1")
    with pytest.raises(PluginError) as caught:
        things().load("half")
    message = str(caught.value)
    for part in ("thing 'half'", "gan-half 3.1", "Half", "regularized_parameters", "l1_strength", "ImportanceMetric"):
        assert part in message
    assert "score" not in message.replace("Scores", "")


def test_listing_of_a_plugin_without_a_docstring(install):
    install("gan-good", {"plain": "gan_plain_mod:Undocumented"}, {"gan_plain_mod": GOOD})
    (line,) = things().listings()
    assert line == Listing("plain", "gan-good", "1.2", "")


def test_a_distribution_without_metadata_breaks_only_itself(install):
    # As an interrupted uninstall leaves it.
    install("gan-torso", {"broken": "no_such_module_there:X", "good": "gan_torso_mod:Good"}, {}, metadata=False)
    install("gan-good", {"good": "gan_torso_mod:Good", "fine": "gan_torso_mod:Good"}, {"gan_torso_mod": GOOD})
    registry = things()
    assert registry.names() == ["broken", "fine", "good"]
    assert registry.load("fine").__name__ == "Good"
    for name in ("broken", "good"):
        with pytest.raises(PluginError):
            registry.load(name)
    assert {line.name for line in registry.listings()} == {"broken", "fine", "good"}


@pytest.mark.parametrize(
    ("group", "contract", "newer"),
    [(f"{GROUP}.2", 1, "gan-gcc"), (f"{GROUP}.12", 3, "gan-gcc"), (GROUP, 2, "gan-other"), (f"{GROUP}.2", 3, "gan-other")],
)
def test_a_plugin_of_another_contract_is_told_without_being_imported(install, group, contract, newer):
    install("gan-other", {"other": "gan_other_mod:Good"}, {"gan_other_mod": "1 / 0"}, group=group, version="0.4")
    own = GROUP if contract == 1 else f"{GROUP}.{contract}"
    install("gan-good", {"good": "gan_fitting_mod:Good"}, {"gan_fitting_mod": GOOD}, group=own)
    registry = things(contract=contract)
    assert registry.names() == ["good", "other"]
    made_for = group.removeprefix(GROUP).removeprefix(".") or "1"
    with pytest.raises(
        ContractError, match=f"'other' of gan-other 0.4 is for contract {made_for}, .* contract {contract}: .* newer {newer}$"
    ):
        registry.load("other")
    assert "gan_other_mod" not in sys.modules
    good, other = registry.listings()
    assert good.fault is None and other.fault.status == "of another contract"


def test_a_name_belongs_to_the_plugin_of_this_contract(install):
    install("gan-old", {"same": "gan_old_mod:Good"}, {"gan_old_mod": "1 / 0"})
    install("gan-new", {"same": "gan_new_mod:Good"}, {"gan_new_mod": GOOD}, group=f"{GROUP}.2")
    registry = things(contract=2)
    assert registry.load("same") is sys.modules["gan_new_mod"].Good
    assert {line.distribution: type(line.fault) for line in registry.listings()} == {"gan-old": ContractError, "gan-new": type(None)}


def test_a_distribution_may_serve_several_contracts(install, tmp_path):
    install("gan-both", {"good": "gan_both_mod:Good"}, {"gan_both_mod": GOOD}, group=f"{GROUP}.2")
    (entries,) = tmp_path.rglob("entry_points.txt")
    entries.write_text(f"{entries.read_text()}[{GROUP}]\ngood = no_such_module_for_one:Good\n")
    (line,) = things(contract=2).listings()
    assert line.fault is None
    (line,) = things(contract=1).listings()
    assert "no_such_module_for_one" in str(line.fault) and line.fault.status == "broken"


def test_a_group_that_only_begins_alike_is_another(install):
    install("gan-else", {"good": "gan_else_mod:Good"}, {"gan_else_mod": GOOD}, group=f"{GROUP}.extra")
    install("gan-more", {"good": "gan_else_mod:Good"}, {}, group=f"{GROUP}2")
    assert things().names() == []


def test_the_table_tells_the_three_faults_apart(install):
    install("gan-broken", {"broken": "gan_table_mod:Missing"}, {"gan_table_mod": GOOD})
    install("gan-good", {"fine": "gan_table_mod:Good", "same": "gan_table_mod:Good"}, {})
    install("gan-twin", {"same": "gan_table_mod:Good"}, {})
    install("gan-later", {"later": "gan_table_mod:Good"}, {}, group=f"{GROUP}.2")
    console = Console(width=300, record=True, file=io.StringIO())
    console.print(plugin_table("thing", things().listings()))
    told = {tuple(line.split()[:2]): line for line in console.export_text().splitlines()}
    assert " broken: " in told["broken", "gan-broken"] and " of another contract: " in told["later", "gan-later"]
    assert " clashing: " in told["same", "gan-good"] and " clashing: " in told["same", "gan-twin"]
    assert told["fine", "gan-good"].rstrip().endswith("Scores with care.")


def test_a_plugin_of_the_real_group_is_found_beside_the_built_in_ones(install):
    install("gan-good", {"careful": "gan_real_mod:Good", "slimming": "gan_real_mod:Good"}, {"gan_real_mod": GOOD}, group="gcc.metrics")
    registry = Registry("metric", "gcc.metrics", implements(ImportanceMetric))
    assert {"l1", "slimming", "careful"} <= set(registry.names())
    assert registry.load("careful").__name__ == "Good"
    # Built-in plugins have no privilege.
    with pytest.raises(PluginError, match="gan-gcc.*gan-good|gan-good.*gan-gcc"):
        registry.load("slimming")


def test_built_in_plugins_load_and_are_listed():
    expected = {
        ARCHITECTURES: {"pix2pix"},
        TASKS: {"paired", "unpaired", "super-resolution", "noise"},
        METRICS: {"slimming", "l1"},
        SELECTORS: {"paper", "uniform", "all"},
        DISTILLERS: {"gcc", "omgd", "omgd_vgg19", "crd", "wavelets"},
        DATASETS: {"aligned", "cityscapes", "streets"},
        EVALUATORS: {"l1", "psnr"},
        RUNTIMES: {"onnxruntime", "openvino", "ncnn", "ncnn-vulkan", "litert", "litert-gpu", "coreml", "torchscript"},
    }
    assert set(REGISTRIES) == set(expected)
    for registry, names in expected.items():
        lines = {line.name: line for line in registry.listings()}
        assert names <= set(lines)
        for name in names:
            assert lines[name].fault is None and lines[name].distribution == "gan-gcc" and lines[name].summary.endswith(".")


def test_a_renamed_plugin_is_understood_with_a_warning_that_names_the_new_one(install):
    install("plugins", {"new": "renamed_mod:Good"}, {"renamed_mod": GOOD})
    registry = Registry("thing", GROUP, implements(ImportanceMetric), renamed={"old": "new"})
    with pytest.warns(FutureWarning, match="the thing old is now called new"):
        assert registry.load("old") is registry.load("new")
    with pytest.warns(FutureWarning, match="the thing old is now called new"):
        assert registry.origin("old") == "plugins 1.2"
    assert registry.names() == ["new"] and registry.current_name("old") == "new"


def test_a_plugin_that_has_the_old_name_of_another_keeps_it(install):
    install("plugins", {"old": "old_mod:Good"}, {"old_mod": GOOD})
    registry = Registry("thing", GROUP, implements(ImportanceMetric), renamed={"old": "new"})
    assert registry.load("old").__name__ == "Good" and registry.current_name("old") == "old"


def test_metrics_of_evaluators_by_their_old_names_have_units():
    assert unit_of(MetricKey.parse("miou_judge")) == "%" and unit_of(MetricKey("psnr_y", "Set5")) == "dB"
    assert unit_of(MetricKey("not_installed")) == ""


def test_a_class_can_be_registered_for_this_process(install):
    class Mine(ImportanceMetric):
        """Scores in a notebook."""

        l1_strength = 1.0

        def score(self, network, group):
            return None

        def regularized_parameters(self, network, group):
            return ()

    install("one", {"good": "one_module:Good"}, {"one_module": GOOD})
    registry = Registry("thing", GROUP, implements(ImportanceMetric))
    registry.register("mine", Mine)
    assert registry.names() == ["good", "mine"] and registry.load("mine") is Mine and registry.origin("mine") == "this process"
    assert Listing("mine", "this process", "", "Scores in a notebook.") in list(registry.listings())
    with pytest.raises(ClashError, match="'good' is claimed by one 1.2: choose another name"):
        registry.register("good", Mine)
    with pytest.raises(PluginError):
        registry.register("other", dict)
