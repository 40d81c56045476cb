"""``torch.nn.DataParallel`` on two devices that are one CPU."""

import threading

import torch
from torch import nn
from torch.nn.parallel import scatter_gather


def replicas_of(model, count):
    """What ``torch.nn.parallel.replicate`` makes on several GPUs: shallow copies with modules and tensors of their own."""
    made = []
    for _ in range(count):
        copies = {module: module._replicate_for_data_parallel() for module in model.modules()}
        for module, twin in copies.items():
            for name, child in module._modules.items():
                twin._modules[name] = copies[child]
                setattr(twin, name, copies[child])
            for name, value in (*module._parameters.items(), *module._buffers.items()):
                # A clone is no parameter, and passes its gradients on to the one that it was made of.
                setattr(twin, name, None if value is None else value.clone())
        made.append(copies[model])
    return made


class Concatenation:
    """``torch.nn.parallel._functions.Gather``, for tensors of one CPU."""

    @staticmethod
    def apply(device, dim, *tensors):
        return torch.cat([tensor if tensor.dim() else tensor[None] for tensor in tensors], dim)


class Dealing:
    """``torch.nn.parallel._functions.Scatter``, for tensors of one CPU."""

    @staticmethod
    def apply(devices, sizes, dim, tensor):
        return tensor.chunk(len(devices), dim)


class TwoReplicas(nn.Module):
    """``torch.nn.DataParallel`` on two devices: torch's own dealing out and gathering, and a thread for each replica."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *args, **kwargs):
        shares = list(zip(*scatter_gather.scatter_kwargs(args, kwargs, [0, 1]), strict=True))
        outputs, errors = [None] * len(shares), []
        gradients = torch.is_grad_enabled()

        def run(i, replica):
            try:
                with torch.set_grad_enabled(gradients):
                    outputs[i] = replica(*shares[i][0], **shares[i][1])
            except Exception as error:
                errors.append(error)

        replicas = replicas_of(self.module, len(shares))
        threads = [threading.Thread(target=run, args=item) for item in enumerate(replicas)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        return scatter_gather.gather(outputs, "cpu")
