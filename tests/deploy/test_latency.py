import time

import pytest
import torch
from torch import nn

from gcc.deploy.latency import measure_in_turns, measure_latency


class Sleeper(nn.Module):
    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds
        self.calls = 0

    def forward(self, x):
        assert not self.training and torch.is_inference_mode_enabled()
        self.calls += 1
        time.sleep(self.seconds)
        return x


def test_latency_of_a_known_pass():
    network = Sleeper(0.005)
    latency = measure_latency(network, torch.zeros(1), repeats=10)
    assert 5 <= latency.median_ms <= latency.p90_ms
    assert network.training and network.calls == 13
    assert (latency.device, latency.threads) == ("cpu", torch.get_num_threads())


def test_a_slow_network_is_timed_less_often():
    network = Sleeper(0.2)
    assert measure_latency(network, torch.zeros(1), repeats=1000).median_ms >= 200
    assert network.calls < 10


def test_networks_take_turns():
    order = []

    class Ordered(Sleeper):
        def forward(self, x):
            order.append(self)
            return super().forward(x)

    first, second = Ordered(0.001), Ordered(0.004)
    latencies = measure_in_turns([first, second], torch.zeros(1), repeats=5)
    assert [latency.median_ms > 3.9 for latency in latencies] == [False, True]
    assert order == [first, second] * 8 and first.training and second.training


@pytest.mark.skipif(not torch.cuda.is_available(), reason="only a GPU has to be waited for before a time is taken")
def test_latency_on_cuda():
    network = nn.Conv2d(3, 8, 3).cuda()
    latency = measure_latency(network, torch.zeros(1, 3, 64, 64, device="cuda"))
    assert 0 < latency.median_ms <= latency.p90_ms
    assert latency.device == torch.cuda.get_device_name()
