"""DistilBERT as tf_keras layers that do no work on padding.

    model = DistilBertClassifier(config, number_of_classes=5, seed=42)
    logits = model({"input_ids": ids, "input_mask": mask}, training=False)      # float32 [batch, classes]

Two savings, both exact (loss and gradients are those of the padded model; test_distilbert.py):

- Every dense layer, layer norm and dropout runs on one [tokens, dim] matrix of the batch's real tokens; only
  attention works on padded blocks, as wide as the longest review of a group (packing.py).
- The classifier reads [CLS] alone, so the last layer computes queries, output projection and feed-forward for it
  alone (keys and values for all tokens).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras

from star_rating.data.schema import NUMBER_OF_CLASSES
from star_rating.model.config import DistilBertConfig
from star_rating.model.operations import drop, gelu, layer_norm
from star_rating.model.packing import MOST_GROUPS, AttentionBlocks, LengthGroup, PackedTokens

LAYER_NORM_EPSILON = 1e-12


@dataclass(frozen=True)
class BlockLayouts:
    """The layouts that a batch needs, made once for all layers."""

    projections: AttentionBlocks
    """Of queries, keys and values."""
    keys_and_values: AttentionBlocks
    contexts: AttentionBlocks

    @classmethod
    def of(cls, tokens: PackedTokens, heads: int, head_dim: int) -> BlockLayouts:
        """Make them for a batch."""
        return cls(*(AttentionBlocks.of(tokens, heads, head_dim, num_splits) for num_splits in (3, 2, 1)))


class Dropout:
    """Dropout whose mask is a function of (seed, step), so that a resumed run draws the masks it would have drawn."""

    def __init__(self, rate: float, seeds: np.random.Generator) -> None:
        self.rate = rate
        self.seed = _next_seed(seeds)

    def __call__(self, inputs: tf.Tensor, step: tf.Tensor | None) -> tf.Tensor:
        """Drop inputs at random in training; `step` None, outside training, leaves them as they are."""
        if step is None or self.rate == 0:
            return inputs
        return drop(inputs, self.rate, tf.stack([tf.constant(self.seed, tf.int64), step]))


class LayerNorm(tf_keras.layers.LayerNormalization):
    """Keras's variables with our gradient; computes in float32 under mixed precision, as Keras's does."""

    def __init__(self, name: str) -> None:
        super().__init__(epsilon=LAYER_NORM_EPSILON, name=name, dtype="float32")
        self.result_dtype = tf_keras.mixed_precision.global_policy().compute_dtype

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Normalise the rows of [rows, dim]."""
        return tf.cast(layer_norm(inputs, self.gamma, self.beta, self.epsilon), self.result_dtype)


class Embeddings(tf_keras.layers.Layer):
    """Words plus positions."""

    def __init__(self, config: DistilBertConfig, seeds: np.random.Generator, name: str) -> None:
        super().__init__(name=name)
        self.word_embeddings = _embedding(config.vocab_size, "word_embeddings", config)
        self.position_embeddings = _embedding(config.max_position_embeddings, "position_embeddings", config)
        self.layer_norm = LayerNorm("LayerNorm")
        self.dropout = Dropout(config.dropout, seeds)

    def call(self, ids: tf.Tensor, positions: tf.Tensor, step: tf.Tensor | None) -> tf.Tensor:
        """Return the [tokens, dim] matrix."""
        vectors = self.word_embeddings(ids) + self.position_embeddings(positions)
        return self.dropout(self.layer_norm(vectors), step)


class SelfAttention(tf_keras.layers.Layer):
    """Multi-head attention of all tokens to all tokens of their review."""

    def __init__(self, config: DistilBertConfig, seeds: np.random.Generator, name: str) -> None:
        super().__init__(name=name)
        self.heads = config.n_heads
        self.head_dim = config.dim // config.n_heads
        self.q_lin = _encoder_dense(config.dim, "q_lin")
        self.k_lin = _encoder_dense(config.dim, "k_lin")
        self.v_lin = _encoder_dense(config.dim, "v_lin")
        self.out_lin = _encoder_dense(config.dim, "out_lin")
        self.dropouts = [Dropout(config.attention_dropout, seeds) for _ in range(MOST_GROUPS)]

    def build(self, input_shape: tf.TensorShape) -> None:
        """Make the variables of the layers that `_project` multiplies by in one go."""
        for layer in (self.q_lin, self.k_lin, self.v_lin):
            with tf.name_scope(layer.name):
                layer.build(input_shape)
        super().build(input_shape)

    def call(
        self, vectors: tf.Tensor, tokens: PackedTokens, layouts: BlockLayouts, step: tf.Tensor | None
    ) -> tf.Tensor:
        """Return [tokens, dim]."""
        groups = layouts.projections.pack(_project(vectors, self.q_lin, self.k_lin, self.v_lin))
        return self.out_lin(layouts.contexts.unpack(self.attend(groups, tokens.groups, step)))

    def attend(
        self, projections: Sequence[Sequence[tf.Tensor]], groups: Sequence[LengthGroup], step: tf.Tensor | None
    ) -> list[tf.Tensor]:
        """For each group, query, key and value [reviews, heads, ., head_dim] -> context, of the query's shape."""
        contexts = []
        for (query, key, value), group, dropout in zip(projections, groups, self.dropouts, strict=False):
            scores = tf.matmul(query * self.head_dim**-0.5, key, transpose_b=True)
            probabilities = tf.nn.softmax(tf.cast(scores, tf.float32) + group.bias)
            contexts.append(tf.matmul(dropout(tf.cast(probabilities, value.dtype), step), value))
        return contexts


class ClsAttention(SelfAttention):
    """The same, of the [CLS] tokens alone."""

    def call(
        self, vectors: tf.Tensor, tokens: PackedTokens, layouts: BlockLayouts, step: tf.Tensor | None
    ) -> tf.Tensor:
        """Return [reviews, dim]."""
        queries = self.q_lin(tf.gather(vectors, tokens.first))
        shapes = [[shape[0], self.heads, 1, self.head_dim] for shape in layouts.contexts.shapes]
        blocks = tf.split(queries, [reviews for reviews, *_ in shapes], num=len(shapes))
        groups = [
            [tf.reshape(block, shape), *keys_and_values]
            for block, shape, keys_and_values in zip(
                blocks, shapes, layouts.keys_and_values.pack(_project(vectors, self.k_lin, self.v_lin)), strict=True
            )
        ]
        contexts = [tf.reshape(block, [-1, queries.shape[-1]]) for block in self.attend(groups, tokens.groups, step)]
        return self.out_lin(tf.concat(contexts, axis=0))


class TransformerBlock(tf_keras.layers.Layer):
    """Attention and feed-forward network, each with a residual connection and a layer norm after it."""

    def __init__(self, config: DistilBertConfig, seeds: np.random.Generator, name: str, *, cls_only: bool) -> None:
        super().__init__(name=name)
        self.cls_only = cls_only
        self.attention = (ClsAttention if cls_only else SelfAttention)(config, seeds, "attention")
        self.sa_layer_norm = LayerNorm("sa_layer_norm")
        self.lin1 = _encoder_dense(config.hidden_dim, "lin1")
        self.lin2 = _encoder_dense(config.dim, "lin2")
        self.dropout = Dropout(config.dropout, seeds)
        self.output_layer_norm = LayerNorm("output_layer_norm")

    def call(
        self, vectors: tf.Tensor, tokens: PackedTokens, layouts: BlockLayouts, step: tf.Tensor | None
    ) -> tf.Tensor:
        """[tokens, dim] -> [tokens, dim], or [reviews, dim] of the [CLS] tokens with `cls_only`."""
        inputs = tf.gather(vectors, tokens.first) if self.cls_only else vectors
        attended = self.sa_layer_norm(inputs + self.attention(vectors, tokens, layouts, step))
        expanded = gelu(self.lin1(attended))
        return self.output_layer_norm(attended + self.dropout(self.lin2(expanded), step))


class DistilBert(tf_keras.layers.Layer):
    """The encoder: a batch's tokens in, one vector a review out. Its weights are zero until a checkpoint is loaded."""

    def __init__(self, config: DistilBertConfig, seeds: np.random.Generator, name: str) -> None:
        super().__init__(name=name)
        self.heads, self.head_dim = config.n_heads, config.dim // config.n_heads
        self.embeddings = Embeddings(config, seeds, "embeddings")
        self.blocks = [
            TransformerBlock(config, seeds, f"layer_{index}", cls_only=index == config.n_layers - 1)
            for index in range(config.n_layers)
        ]

    def call(self, tokens: PackedTokens, step: tf.Tensor | None) -> tf.Tensor:
        """Return the last layer's [CLS] vectors, [batch, dim]."""
        layouts = BlockLayouts.of(tokens, self.heads, self.head_dim)
        vectors = self.embeddings(tokens.ids, tokens.positions, step)
        for block in self.blocks:
            vectors = block(vectors, tokens, layouts, step)
        return tf.gather(vectors, tokens.review_of_row)


class DistilBertClassifier(tf_keras.Model):
    """DistilBERT with the head of transformers' DistilBertForSequenceClassification.

    It has its variables from the start. `seed` is that of the head's weights and of dropout; None draws it from
    TensorFlow's generator, so that tf.random.set_seed decides.

    Inputs are {"input_ids", "input_mask"}, int32 or int64 [batch, length], any batch and any length up to
    max_position_embeddings. The first position of each row is its [CLS]: it counts as a token whatever the mask says,
    so that a row of padding alone gives finite logits. With `jit_compile=True`, where shapes must not depend on the
    mask, "active_positions" says which positions to work on (model/xla.py).
    """

    def __init__(
        self, config: DistilBertConfig, number_of_classes: int = NUMBER_OF_CLASSES, *, seed: int | None = None
    ) -> None:
        super().__init__(name="distilbert_classifier")
        seeds = np.random.default_rng(_draw_seed() if seed is None else seed)
        self.config = config
        self.number_of_classes = number_of_classes
        self.distilbert = DistilBert(config, seeds, "distilbert")
        self.pre_classifier = _head_dense(config.dim, "pre_classifier", config, seeds, activation="relu")
        self.dropout = Dropout(config.seq_classif_dropout, seeds)
        # float32 under mixed precision: the loss is computed from these.
        self.classifier = _head_dense(number_of_classes, "classifier", config, seeds, dtype="float32")
        self.dropout_step = self.add_weight(
            name="dropout_step",
            shape=(),
            dtype=tf.int64,
            initializer="zeros",
            trainable=False,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
        one_token = tf.ones([1, 1], tf.int32)
        self({"input_ids": one_token * 0, "input_mask": one_token})  # Keras makes variables at the first call

    @tf.autograph.experimental.do_not_convert  # nothing here branches on a tensor, and rewriting it takes two seconds
    def call(self, inputs: Mapping[str, tf.Tensor], training: bool | None = None) -> tf.Tensor:  # noqa: FBT001 (Keras's)
        """Return float32 logits, [batch, number_of_classes]."""
        step = self.next_dropout_step() if training else None
        # A frozen encoder is a fixed feature extractor: dropout would add noise that its weights cannot learn from.
        tokens = PackedTokens.of(inputs["input_ids"], inputs["input_mask"], inputs.get("active_positions"))
        vectors = self.distilbert(tokens, step if self.distilbert.trainable else None)
        return self.classifier(self.dropout(self.pre_classifier(vectors), step))

    def next_dropout_step(self) -> tf.Tensor:
        """Return the number that this step's dropout masks follow from."""
        return self.dropout_step.assign_add(1)

    def freeze_body(self) -> None:
        """Train the head alone; call it before compile."""
        self.distilbert.trainable = False


def _draw_seed() -> int:
    return int(tf.random.uniform([], maxval=2**31 - 1, dtype=tf.int32))


def _next_seed(seeds: np.random.Generator) -> int:
    return int(seeds.integers(2**31 - 1))


def _project(vectors: tf.Tensor, *layers: tf_keras.layers.Dense) -> tf.Tensor:
    """Apply dense layers side by side: one product of wide matrices runs faster, forward and backward, than several."""
    kernel = tf.concat([tf.convert_to_tensor(layer.kernel) for layer in layers], axis=1)
    bias = tf.concat([tf.convert_to_tensor(layer.bias) for layer in layers], axis=0)
    return tf.nn.bias_add(tf.matmul(vectors, kernel), bias)


def _head_dense(
    units: int, name: str, config: DistilBertConfig, seeds: np.random.Generator, **options: str
) -> tf_keras.layers.Dense:
    normal = tf_keras.initializers.TruncatedNormal(stddev=config.initializer_range, seed=_next_seed(seeds))
    return tf_keras.layers.Dense(units, name=name, kernel_initializer=normal, **options)


def _encoder_dense(units: int, name: str) -> tf_keras.layers.Dense:
    return tf_keras.layers.Dense(units, name=name, kernel_initializer="zeros")


def _embedding(rows: int, name: str, config: DistilBertConfig) -> tf_keras.layers.Embedding:
    return tf_keras.layers.Embedding(rows, config.dim, name=name, embeddings_initializer="zeros")
