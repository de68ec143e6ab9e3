import math

import pytest
import torch
from torch.testing import assert_close

from pyro_dgm.errors import UnknownNameError
from pyro_dgm.objectives.losses import LOSSES, Minimax, NonSaturating, Wasserstein, adversarial_loss


def scores(*values):
    return torch.tensor(values, dtype=torch.double, requires_grad=True)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("sign", [-1, 1])
def test_losses_and_gradients_are_finite_for_scores_of_ten_thousand(name, sign):
    real, fake = scores(sign * 1e4, -sign * 1e4), scores(sign * 1e4, sign * 1e4)
    loss = LOSSES[name]()
    total = loss.critic(real, fake) + loss.generator(fake)
    total.backward()
    assert total.isfinite()
    assert real.grad.isfinite().all()
    assert fake.grad.isfinite().all()


def test_minimax_losses_are_the_log_probabilities_of_the_paper():
    real, fake = torch.randn(2, 50, dtype=torch.double)
    d_real, d_fake = real.sigmoid(), fake.sigmoid()
    assert_close(Minimax().critic(real, fake), -d_real.log().mean() - (1 - d_fake).log().mean())
    assert_close(Minimax().generator(fake), (1 - d_fake).log().mean())
    assert_close(NonSaturating().generator(fake), -d_fake.log().mean())


def test_minimax_and_non_saturating_agree_where_the_discriminator_knows_nothing():
    fake = scores(0.0)
    (minimax,) = torch.autograd.grad(Minimax().generator(fake), fake)
    (other,) = torch.autograd.grad(NonSaturating().generator(fake), fake)
    assert_close(minimax, other)
    assert_close(Minimax().critic(fake, fake).item(), 2 * math.log(2))


def test_minimax_gradient_vanishes_where_the_discriminator_is_sure_and_the_other_does_not():
    fake = scores(-30.0)
    (minimax,) = torch.autograd.grad(Minimax().generator(fake), fake)
    (other,) = torch.autograd.grad(NonSaturating().generator(fake), fake)
    assert -1e-12 < minimax.item() < 0
    assert_close(other.item(), -1.0)


@pytest.mark.parametrize("name", LOSSES)
def test_each_critic_wants_real_scores_up_and_each_generator_its_own(name):
    real, fake = scores(0.1, 0.2), scores(0.2, 0.1)
    on_real, on_fake = torch.autograd.grad(LOSSES[name]().critic(real, fake), (real, fake))
    (by_generator,) = torch.autograd.grad(LOSSES[name]().generator(fake), fake)
    assert (on_real < 0).all()
    assert (on_fake > 0).all()
    assert (by_generator < 0).all()


def test_a_loss_goes_by_name_or_as_it_is():
    mine = Wasserstein()
    assert adversarial_loss(mine) is mine
    with pytest.raises(UnknownNameError, match="did you mean 'wasserstein'"):
        adversarial_loss("waserstein")
