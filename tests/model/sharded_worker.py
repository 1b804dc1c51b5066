"""One of several processes that train one step under DDP (with compiled layers, too) or FSDP, for test_distributed.py.

torchrun --nproc_per_node 2 sharded_worker.py {ddp,compiled,fsdp1,fsdp2} MODEL BATCHES GRADIENTS
"""

import sys
from contextlib import nullcontext

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DistributedDataParallel

from electra_rtd import ElectraRTDForPreTraining, objective_electra_rtd
from electra_rtd.train_tools.compiled_layers import compile_layers


def main(way, folder, batches, gradients):
    objective_electra_rtd.LOGITS_AT_ONCE["cpu"] = 160  # of 80 tokens: two at a time, and again in the backward pass
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    model = ElectraRTDForPreTraining.from_pretrained(folder).eval()  # eval: the corruption is the batch's own
    names = [name for name, _ in model.named_parameters()]
    graphs = []
    if way == "compiled":
        compile_layers(model, backend=lambda graph, inputs: graphs.append(graph) or graph.forward)
    if way in ("ddp", "compiled"):
        model = DistributedDataParallel(model)
    elif way == "fsdp1":
        model = FullyShardedDataParallel(model, device_id=torch.device("cpu"), use_orig_params=True)
    else:
        for network in (model.generator, model.discriminator):
            for layer in network.electra.encoder.layer:
                fully_shard(layer)
            fully_shard(network.electra.embeddings.position_embeddings)  # "gdes": the generator's is read twice
        fully_shard(model)
    model(**torch.load(batches)[rank]).loss.backward()
    assert len(graphs) == (2 if way == "compiled" else 0), graphs
    whole = FullyShardedDataParallel.summon_full_params(model, with_grads=True) if way == "fsdp1" else nullcontext()
    with whole:
        found = [parameter.grad.clone() for parameter in model.parameters()]
    found = [gradient.full_tensor() if way == "fsdp2" else gradient for gradient in found]
    if rank == 0:
        torch.save(dict(zip(names, found, strict=True)), gradients)
    del model  # gloo now and then hangs where a reducer outlives its group
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
