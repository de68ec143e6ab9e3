import pytest

from tests.contract.cases import CASES, perturbed


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def make(request):
    """Makes the flow of one case, fresh and in single precision."""
    return request.param


@pytest.fixture
def flow(make):
    """The flow of one case, used, in double precision."""
    return perturbed(make().double())
