"""The files that install, build and describe the project agree with each other and the code."""

from __future__ import annotations

import ast
import configparser
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import poets_tfr

ROOT = Path(__file__).resolve().parents[1]
LICENSE_SHA256 = 'cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30'

# Not in the extra test: the tests that import it skip where it is missing.
OPTIONAL_IN_TESTS = {'tensorflow-io'}

# What the modules are called in the index, for modules that may be absent where this runs.
DISTRIBUTIONS = {
    'PIL': 'pillow', 'absl': 'absl-py', 'google': 'protobuf', 'pillow_jxl': 'pillow-jxl-plugin',
}  # fmt: skip


def read_setup_cfg() -> configparser.ConfigParser:
    config = configparser.ConfigParser()
    config.read(ROOT / 'setup.cfg')
    return config


SETUP = read_setup_cfg()


def lines_of(value: str) -> list[str]:
    return [line.strip() for line in value.splitlines() if line.strip()[:1] not in ('', '#')]


def requirement(line: str) -> tuple[str, str]:
    """'Name[extra]>=1,<2; marker' -> ('name[extra]', '<2,>=1')."""
    match = re.fullmatch(r'([\w.-]+)(\[[\w,-]+\])?\s*([^;\s]*)\s*(;.*)?', line)
    assert match, line
    name = re.sub(r'[-_.]+', '-', match[1]).lower()
    return name + (match[2] or ''), ','.join(sorted(match[3].split(',')))


def requirements(*extras: str) -> dict[str, str]:
    """Those of the base, or those of the extras named, as {name: constraint}."""
    found = [lines_of(SETUP['options.extras_require'][extra]) for extra in extras]
    found = found or [lines_of(SETUP['options']['install_requires'])]
    return dict(requirement(line) for lines in found for line in lines)


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob('*.py'))


def third_party_imports(paths: list[Path]) -> dict[str, Path]:
    """{distribution: one of the files that import it}, imports inside functions included."""
    own = {'poets_tfr', 'tools', 'benchmarks'}
    own |= {path.stem for path in (ROOT / 'tests').rglob('*.py')}
    own |= {path.name for path in (ROOT / 'tests').iterdir() if path.is_dir()}
    installed = importlib.metadata.packages_distributions()
    found = {}
    for path in paths:
        for module in imported_modules(ast.parse(path.read_bytes(), path)):
            if module not in own | sys.stdlib_module_names:
                names = installed.get(module, [])
                name = DISTRIBUTIONS.get(module) or (names[0] if len(set(names)) == 1 else module)
                found[re.sub(r'[-_.]+', '-', name).lower()] = path
    return found


def imported_modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition('.')[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition('.')[0]
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in ('importorskip', 'import_module')
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value).partition('.')[0]


def own_files() -> Iterator[Path]:
    """Every file of the checkout that is not made by a tool."""
    made = {'build', 'dist', 'runs', '__pycache__'}
    hidden_but_own = {'.ci', '.github', '.gitignore', '.dockerignore'}
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [
            name
            for name in folders
            if name not in made
            and not name.endswith('.egg-info')
            and (name[0] != '.' or name in hidden_but_own)
        ]
        yield from (Path(folder, n) for n in names if n[0] != '.' or n in hidden_but_own)


# Requirements


EXTRAS_OF_THE_CODE = ('io', 'heif', 'jxl', 'parquet', 'faiss', 'beam', 'onnx', 'peers')


def test_importing_tests_needs_only_the_base_and_the_extra_test() -> None:
    declared = requirements().keys() | requirements('test').keys() | OPTIONAL_IN_TESTS
    undeclared = {
        name: str(path.relative_to(ROOT))
        for name, path in third_party_imports(python_files('tests')).items()
        if name not in declared
    }
    assert not undeclared


def test_the_code_imports_only_the_base_and_its_own_extras() -> None:
    declared = set(requirements()).union(*map(requirements, EXTRAS_OF_THE_CODE))
    folders = 'poets_tfr', 'tools', 'benchmarks'
    undeclared = {
        name: str(path.relative_to(ROOT))
        for name, path in third_party_imports(python_files(*folders)).items()
        if name not in declared
    }
    assert not undeclared


def test_the_extras_hold_what_the_set_up_promises() -> None:
    assert requirements('io') == {
        'tensorflow': '~=2.16.2',
        'tensorflow-io': '==0.37.1',
        'setuptools': '<81',
    }
    assert all('python_version<"3.13"' in line for line in io_lines()), 'no wheels for 3.13'
    # The same range as the base, with CUDA.
    assert requirements('gpu') == {'tensorflow[and-cuda]': requirements()['tensorflow']}
    assert {'pytest', 'pytest-timeout', 'tensorflow-datasets'} <= requirements('test').keys()
    assert {'ruff', 'mypy'} <= requirements('lint').keys()
    assert 'build' in requirements('release')
    assert (requirements('heif'), requirements('jxl')) == (
        {'pi-heif': ''}, {'pillow-jxl-plugin': ''}
    )  # fmt: skip


def test_what_is_under_the_gpl_comes_only_where_it_is_asked_for() -> None:
    for extra, value in SETUP['options.extras_require'].items():
        names = {requirement(line)[0] for line in lines_of(value)}
        assert ('pillow-jxl-plugin' in names) == (extra in ('jxl', 'test')), extra
        assert ('pillow-heif' in names) == (extra == 'test'), extra


def io_lines() -> list[str]:
    return lines_of(SETUP['options.extras_require']['io'])


def test_only_where_tensorboard_needs_an_old_setuptools_is_it_asked_for() -> None:
    """TensorBoard 2.16, which TensorFlow 2.16 demands, needs pkg_resources; 2.21 does not."""
    assert 'setuptools' not in requirements()
    assert 'setuptools<81; python_version<"3.13"' in io_lines()


# Dockerfile


def dockerfile() -> str:
    """Without comments, and with each continued line as one."""
    text = re.sub(r'^#.*\n', '', (ROOT / 'Dockerfile').read_text(), flags=re.MULTILINE)
    return re.sub(r'\\\n', ' ', text)


def test_dockerfile_pins_are_those_of_setup_cfg() -> None:
    pins = dict(
        requirement(pin) for pin in re.findall(r'"([\w.-]+[\w\[\],-]*[~=<>][^"]*)"', dockerfile())
    )
    io = requirements('io')
    assert pins == {
        'tensorflow[and-cuda]': io['tensorflow'],
        'tensorflow-io': io['tensorflow-io'],
        'setuptools': io['setuptools'],
    }


def test_dockerfile_installs_as_make_setup_does() -> None:
    assert 'pip install -e ".[io,heif,gpu]"' in dockerfile()
    makefile = (ROOT / 'Makefile').read_text()
    assert 'extras=io,heif;' in makefile
    assert 'else extras=heif;' in makefile
    assert '-e ".$${extras:+[$$extras]}"' in makefile


def test_dockerfile_has_a_python_that_tensorflow_io_supports() -> None:
    version = re.search(r'^FROM python:3\.(\d+)-slim$', dockerfile(), re.MULTILINE)
    assert version
    assert 10 <= int(version[1]) < 13


def test_dockerfile_answers_at_the_paths_of_the_tutorial() -> None:
    text = dockerfile()
    for path in (
        '/tf_files',
        '/image_classification_tf_docker',
        '/tensorflow/tensorflow/examples/image_retraining',
    ):
        assert path in text
    for script in re.findall(r'/poets_tfr/(tools/\w+\.py)', text):
        assert (ROOT / script).is_file()


def test_dockerignore_keeps_what_the_image_needs() -> None:
    ignored = (ROOT / '.dockerignore').read_text().split()
    for needed in ('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE', 'poets_tfr', 'tools'):
        assert needed not in ignored
        assert (ROOT / needed).exists()


# What gets installed


def console_scripts() -> dict[str, str]:
    pairs = lines_of(SETUP['options.entry_points']['console_scripts'])
    return dict(re.split(r'\s*=\s*', pair) for pair in pairs)


@pytest.mark.parametrize('command', console_scripts())
def test_console_script_points_at_a_main(command: str) -> None:
    module, _, function = console_scripts()[command].partition(':')
    source = ROOT / f'{module.replace(".", "/")}.py'
    assert function == 'main'
    tree = ast.parse(source.read_bytes())
    mains = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == 'main']
    assert len(mains) == 1
    assert not mains[0].args.args or len(mains[0].args.defaults) == len(mains[0].args.args)
    in_checkouts = (ROOT / 'tools' / source.name).read_text()
    assert f'from {module} import main\n' in in_checkouts
    for text in source.read_text(), in_checkouts:
        assert re.search(r"if __name__ == '__main__':\n    sys\.exit\(main\(\)\)", text)
    assert shutil.which(command, path=os.path.dirname(sys.executable)), 'run make setup again'


def test_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    source = tmp_path / 'source'
    source.mkdir()
    for name in ('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    for name in ('poets_tfr', 'tools', 'benchmarks', 'tests'):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__'))
    subprocess.run(
        [sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-build-isolation']
        + ['--no-index', '--wheel-dir', str(tmp_path), str(source)],
        check=True,
        timeout=120,
    )
    (wheel,) = tmp_path.glob('*.whl')
    assert wheel.name.startswith(f'poets_tfr-{poets_tfr.__version__}-')
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if '.dist-info/' not in name}
        (metadata,) = (name for name in archive.namelist() if name.endswith('/METADATA'))
        assert 'Apache-2.0' in archive.read(metadata).decode()
    package = [path for path in (ROOT / 'poets_tfr').rglob('*') if path.is_file()]
    assert packed == {str(path.relative_to(ROOT)) for path in package if path.suffix != '.pyc'}


# Makefile


def make(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which('make')
    if program is None:
        pytest.skip('make is not installed')
    # Under make this process inherits its flags (-n, -j), which are not meant for this one.
    of_make = {
        'MAKEFLAGS',
        'MFLAGS',
        'MAKELEVEL',
        'PYTHON',
        'EXTRAS',
        'FLAGS',
        'RUN',
        'SUMMARIES_DIR',
    }
    clean = {k: v for k, v in os.environ.items() if k not in of_make}
    return subprocess.run(
        [program, '--no-print-directory', *arguments],
        cwd=cwd,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / 'Makefile').read_text()
    documented = re.findall(r'^([a-z-]+):.*?## (.+)$', makefile, re.MULTILINE)
    phony = re.search(r'^\.PHONY:((?:.*\\\n)*.*)$', makefile, re.MULTILINE)
    assert phony
    assert sorted(name for name, _ in documented) == sorted(phony[1].replace('\\', '').split())
    shown = make('help').stdout
    for name, says in documented:
        assert re.search(rf'^  {name} +{re.escape(says)}$', shown, re.MULTILINE), name


def test_makefile_names_files_that_exist() -> None:
    makefile = (ROOT / 'Makefile').read_text()
    for name in set(re.findall(r'\b(?:tools|configs)/\w+\.\w+', makefile)):
        assert (ROOT / name).is_file(), name


def checkout(folder: Path, with_python: bool = False) -> Path:
    """The Makefile; `with_python` with an environment whose Python says how it was called."""
    for name in 'Makefile', 'setup.cfg', 'pyproject.toml':
        shutil.copy(ROOT / name, folder)
    if with_python:
        python = folder / '.venv/bin/python'
        python.parent.mkdir(parents=True)
        python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        python.chmod(0o755)
        (folder / '.venv/stamp').touch()
    return folder


def programs(folder: Path, **scripts: str) -> str:
    """A PATH that has what the Makefile itself calls, and these scripts."""
    folder.mkdir()
    for name in 'sh', 'sed', 'awk', 'sort', 'paste', 'basename', 'cat', 'mv', 'mkdir':
        (folder / name).symlink_to(str(shutil.which(name)))
    for name, body in scripts.items():
        script = folder / name.replace('_', '.')
        script.write_text(f'#!/bin/sh\n{body}\n')
        script.chmod(0o755)
    return str(folder)


# A name that pyenv knows in another version, and a Python that is too new.
NO_SUCH_VERSION = 'echo command not found >&2; exit 127'
IS_3_14 = 'case "$1" in -V) echo Python 3.14.0;; *) exit 1;; esac'


def test_setup_says_what_to_install_where_no_python_fits(tmp_path: Path) -> None:
    path = programs(tmp_path / 'bin', python3=IS_3_14, python3_12=NO_SUCH_VERSION)
    ended = make('setup', cwd=checkout(tmp_path), PATH=path)
    assert ended.returncode == 2
    first, second, make_says = ended.stderr.splitlines()
    assert first.startswith('Python 3.10 to 3.13 is needed')
    assert first.endswith('Found: Python 3.14.0.')
    assert 'uv python install 3.12' in second
    assert make_says.startswith('make')
    # The same bounds as pip has.
    assert SETUP['options']['python_requires'] == '>=3.10,<3.14'


def test_setup_takes_the_first_python_that_fits(tmp_path: Path) -> None:
    says = 'case "$1" in -m) echo "$0 $*";; esac; test "$1" = -c'
    path = programs(
        tmp_path / 'bin',
        python3=IS_3_14,
        python3_12=NO_SUCH_VERSION,
        python3_10=says,
        python3_13=says,
    )
    ended = make('setup', cwd=checkout(tmp_path), PATH=path)
    assert ended.returncode == 2, 'a script makes no environment'
    assert ended.stdout == f'{path}/python3.10 -m venv --clear .venv\n'


def test_an_environment_whose_python_does_not_fit_is_made_anew(tmp_path: Path) -> None:
    """Of a set-up that an earlier version began with Python 3.14, say."""
    (tmp_path / '.venv/bin').mkdir(parents=True)
    has_pip = '#!/bin/sh\ntest "$2" = "import pip"\n'
    (tmp_path / '.venv/bin/python').write_text(has_pip)
    (tmp_path / '.venv/bin/python').chmod(0o755)
    path = programs(tmp_path / 'bin', python3='test "$1" = -c || echo "$*"; test "$1" = -c')
    ended = make('setup', cwd=checkout(tmp_path), PATH=path)
    assert ended.stdout == '-m venv --clear .venv\n'


@pytest.mark.parametrize(('target', 'extras'), [('setup', 'io'), ('lint', 'io,test,lint,release')])
def test_what_a_target_needs_is_asked_of_pip_at_once_and_a_failure_shown(
    target: str, extras: str, tmp_path: Path
) -> None:
    venv.create(tmp_path / '.venv', with_pip=False)
    (packages,) = tmp_path.glob('.venv/lib/python*/site-packages')
    (packages / 'pip').mkdir()
    (packages / 'pip/__init__.py').touch()
    (packages / 'pip/__main__.py').write_text(
        "import sys\nprint('Collecting', *sys.argv[1:])\nsys.exit('tensorflow' in str(sys.argv))\n"
    )
    ended = make(target, cwd=checkout(tmp_path), EXTRAS='io')
    assert ended.returncode == 2
    assert ended.stdout.startswith('Installing into .venv: ')
    assert ended.stdout.count('\n') == 1
    asked = f'Collecting install --no-input -e .[{extras}] tensorflow~=2.16.2\n'
    assert asked in ended.stderr
    assert asked in (tmp_path / '.venv/setup.log').read_text()
    assert not (tmp_path / '.venv/stamp').exists()


@pytest.mark.parametrize(
    ('arguments', 'says'),
    [
        (['train', 'IMAGE_DIR=/x/my pets/'], '--run_dir=runs/my pets'),
        (['train', 'RECORDS_DIR=s3://bucket/pets'], '--run_dir=runs/pets'),
        (['train', 'IMAGE_DIR=.'], '--run_dir=runs/checkout'),
        (['train', 'IMAGE_DIR=/x/pets', 'RUN=runs/others'], '--run_dir=runs/others'),
        (['train', 'FLAGS=--image_dir=/x/pets'], '--run_dir=runs/run'),
        (['label', 'PICTURE=my tom.jpg'], '--graph=runs'),
        (['label', 'PICTURE=tom.jpg', 'RUN=runs/my pets'], '--graph=runs/my pets'),
        (['serve', 'RUN=~/runs'], f'--graph={os.path.expanduser("~")}/runs'),
        (['evaluate', 'IMAGE_DIR=/x/others'], '--graph=runs'),
        (['examine', 'IMAGE_DIR=/x/my pets'], '--image_dir=/x/my pets'),
        (['review', 'EXAMINE_DIR=~/my look'], f'--examine_dir={os.path.expanduser("~")}/my look'),
        (['runs'], '--run_dir=runs'),
    ],
)
def test_make_trains_into_runs_and_finds_the_last(
    arguments: list[str], says: str, tmp_path: Path
) -> None:
    (tmp_path / 'checkout').mkdir()
    ended = make(*arguments, cwd=checkout(tmp_path / 'checkout', with_python=True))
    assert ended.returncode == 0, ended.stderr
    assert says in ended.stdout.splitlines()


def test_a_flagfile_may_name_the_run(tmp_path: Path) -> None:
    folder = checkout(tmp_path, with_python=True)
    ended = make('train', 'FLAGS=--flagfile=runs/pets/1/retrain.flags', cwd=folder)
    assert '--flagfile=runs/pets/1/retrain.flags' in ended.stdout
    assert '--run_dir' not in ended.stdout


def test_tensorboard_says_so_where_nothing_is_there(tmp_path: Path) -> None:
    (tmp_path / 'runs/pets').mkdir(parents=True)  # of a run that failed
    ended = make('tensorboard', cwd=checkout(tmp_path, with_python=True))
    assert ended.returncode == 2
    assert ended.stderr.startswith('runs: nothing to show there yet. Run make train first\n')
    (tmp_path / 'runs/pets/1').mkdir()
    (tmp_path / 'runs/pets/1/events.out.tfevents.1.host').touch()
    ended = make('tensorboard', cwd=tmp_path)
    assert ended.stdout.splitlines()[-2:] == ['--logdir', 'runs']


# The rest


def test_license_is_the_plain_apache_text() -> None:
    assert hashlib.sha256((ROOT / 'LICENSE').read_bytes()).hexdigest() == LICENSE_SHA256
    assert SETUP['metadata']['license'] == 'Apache-2.0'


def test_changelog_has_an_unreleased_section_and_this_version() -> None:
    changelog = (ROOT / 'CHANGELOG.md').read_text()
    assert '\n## Unreleased\n' in changelog
    dated = rf'^## {re.escape(poets_tfr.__version__)} \(\d{{4}}-\d\d-\d\d\)$'
    assert re.search(dated, changelog, re.MULTILINE)


def test_hosted_ci_runs_what_a_person_runs() -> None:
    """Beside the checkout and a Python it does one thing."""
    workflow = (ROOT / '.github/workflows/ci.yml').read_text()
    assert re.findall(r'^ +- run: (.+)$', workflow, re.MULTILINE) == ['.ci/run']


def test_no_file_names_a_path_of_one_machine() -> None:
    places = [r'/(?:home|Users)/\w+/', r'/' + r'root/', re.escape(sys.prefix) + r'\b']
    if len(ROOT.parts) > 2:  # a checkout at /src would be found in every .../src
        places.append(re.escape(str(ROOT)) + r'\b')
    pattern = re.compile('|'.join(rf'(?<![\w.~$}}])(?:{place})' for place in places))
    found = []
    for path in own_files():
        text = path.read_bytes().decode('utf-8', errors='replace')
        found += [f'{path.relative_to(ROOT)}: {match[0]}' for match in pattern.finditer(text)]
    assert not found


def test_ci_fails_on_a_skip_without_an_allowed_reason(tmp_path: Path) -> None:
    shutil.copy(ROOT / 'tests/conftest.py', tmp_path)
    (tmp_path / 'test_it.py').write_text(
        'import pytest\n'
        "@pytest.mark.skipif(True, reason='tensorflow-io is not installed')\n"
        'def test_allowed(): pass\n'
        "@pytest.mark.xfail(reason='known')\n"
        'def test_known(): assert False\n'
        'def test_passing(): pass\n'
    )
    assert run_pytest(tmp_path, ci='1').returncode == 0
    (tmp_path / 'test_other.py').write_text(
        "import pytest\npytest.skip('too tired', allow_module_level=True)\n"
    )
    assert run_pytest(tmp_path, ci='').returncode == 0
    refused = run_pytest(tmp_path, ci='1')
    assert refused.returncode == pytest.ExitCode.TESTS_FAILED
    assert 'test_other.py: Skipped: too tired' in refused.stdout


def run_pytest(folder: Path, ci: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            '-m',
            'pytest',
            '-p',
            'no:cacheprovider',
            '-c',
            os.devnull,
            '--rootdir',
            str(folder),
            str(folder),
        ],
        env={**os.environ, 'CI': ci},
        capture_output=True,
        text=True,
        timeout=120,
    )
