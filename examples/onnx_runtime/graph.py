"""The network as it is exported, and the export by torch's own exporter."""

import logging
import warnings

import torch
from torch import nn
from torch.export import Dim


INPUTS = ("input_ids", "attention_mask", "token_type_ids")  # int64, (B, L): what an ELECTRA or BERT tokenizer gives
OPSET = 18


class Graph(nn.Module):
    """A stock network that reads padding on either side.

    Stock ELECTRA counts positions from the first column, and a classifier's head reads that column, so that padding on
    the left gives other numbers than on the right. Here a row that begins with padding is turned until its first token
    is in front.

    Args:
        network (`PreTrainedModel`): an encoder, or one with a head for sequences or tokens; in eval mode.
    """

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.of_tokens = "last_hidden_state" if network is network.base_model else "logits"
        self.eval()

    @property
    def outputs(self):
        """Names of what comes out, in order: `list[str]`."""
        return [self.of_tokens, "sentence_embedding"] if self.of_tokens == "last_hidden_state" else [self.of_tokens]

    def forward(self, input_ids, attention_mask, token_type_ids):
        """Args: int64, `(B, L)` each; `attention_mask` is 1 where there is a token.

        Returns:
            tuple: `last_hidden_state` `(B, L, H)` and `sentence_embedding` `(B, H)`, its mean over the tokens of a
            row, 0 where there are none; or the `logits` of the head.
        """
        length = input_ids.shape[1]
        columns = torch.arange(length, device=input_ids.device)
        first = attention_mask.argmax(dim=1, keepdim=True)  # (B, 1): 0 where there is no token
        # (B, L): the first token's column is in front. Not by `%`, which the exporter does not take here.
        turned = torch.where(columns + first < length, columns + first, columns + first - length)
        output = self.network(
            input_ids=input_ids.gather(1, turned),
            attention_mask=attention_mask.gather(1, turned),
            token_type_ids=token_type_ids.gather(1, turned),
        )[0]
        if output.dim() < 3:
            return (output,)  # logits of sequences
        back = torch.where(columns >= first, columns - first, columns - first + length)
        states = output.gather(1, back[..., None].expand_as(output))
        if self.of_tokens == "logits":
            return (states,)
        there = (attention_mask > 0)[..., None]  # (B, L, 1)
        return states, torch.where(there, states, 0.0).sum(1) / there.sum(1).clamp(min=1)


def export(graph, path):
    """Write a network as an ONNX file, for batches of any size and any length that the network reads.

    Args: graph ([`Graph`]); path (`Path`).
    """
    example = tuple(torch.ones(2, 8, dtype=torch.long) for _ in INPUTS)
    batch, length = Dim("batch"), Dim("length", max=graph.network.config.max_position_embeddings)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it tells of a package that nobody here needs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's exporter about torch
        warnings.filterwarnings("ignore", r"# The axis name: \w+ will not be used", UserWarning)  # one of three has it
        program = torch.onnx.export(
            graph,
            example,
            input_names=list(INPUTS),
            output_names=graph.outputs,
            dynamo=True,
            dynamic_shapes=tuple({0: batch, 1: length} for _ in INPUTS),
            opset_version=OPSET,
            verbose=False,
        )
    program.save(str(path), external_data=False)
