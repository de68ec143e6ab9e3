import pytest

from tests.contract.cases import CASES, FURTHER, perturbed

PARAMS = [
    pytest.param(make, id=name, marks=[pytest.mark.slow] if name in FURTHER else [])
    for name, make in CASES.items()
]


@pytest.fixture(params=PARAMS)
def make(request):
    """Makes the flow of one case, fresh and in single precision."""
    return request.param


@pytest.fixture
def flow(make):
    """The flow of one case, used, in double precision."""
    return perturbed(make().double())
