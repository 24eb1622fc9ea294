"""DistilBERT as tf_keras layers that do no work on padding.

    model = DistilBertClassifier(config, number_of_classes=5, seed=42)
    logits = model({"input_ids": ids, "input_mask": mask}, training=False)      # float32 [batch, classes]

Two savings, both exact (loss and gradients are those of the padded model; tests/unit/test_distilbert.py):

- Every dense layer, layer norm and dropout runs on one [tokens, dim] matrix of the batch's real tokens (tokens.py);
  only the attention product is laid out as [batch, heads, width, width], as wide as the longest review.
- The classifier reads [CLS] alone, so the last layer computes queries, output projection and feed-forward for it
  alone (keys and values for all tokens).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
import tf_keras

from star_rating.model.config import DistilBertConfig
from star_rating.model.tokens import Grid, Tokens, gather_rows

LAYER_NORM_EPSILON = 1e-12


class Dropout:
    """Dropout whose mask is a function of (seed, step), so that a resumed run draws the masks it would have drawn."""

    def __init__(self, rate: float, seeds: np.random.Generator) -> None:
        self.rate = rate
        self.seed = _next_seed(seeds)

    def __call__(self, inputs: tf.Tensor, step: tf.Tensor | None) -> tf.Tensor:
        """Drop inputs at random in training; `step` None, outside training, leaves them as they are."""
        if step is None or self.rate == 0:
            return inputs
        seed = tf.stack([tf.constant(self.seed, tf.int64), step])
        # Philox by name, as the default differs by device; float32, as bfloat16 is too coarse for a rate of 0.1.
        keep = tf.random.stateless_uniform(tf.shape(inputs), seed, dtype=tf.float32, alg="philox") >= self.rate
        return tf.where(keep, inputs * (1 / (1 - self.rate)), tf.zeros([], inputs.dtype))


class Embeddings(tf_keras.layers.Layer):
    """Words plus positions."""

    def __init__(self, config: DistilBertConfig, seeds: np.random.Generator, name: str) -> None:
        super().__init__(name=name)
        self.word_embeddings = _embedding(config.vocab_size, "word_embeddings", config, seeds)
        self.position_embeddings = _embedding(config.max_position_embeddings, "position_embeddings", config, seeds)
        self.layer_norm = _layer_norm("LayerNorm")
        self.dropout = Dropout(config.dropout, seeds)

    def call(self, ids: tf.Tensor, positions: tf.Tensor, step: tf.Tensor | None) -> tf.Tensor:
        """Return the [tokens, dim] matrix."""
        vectors = self.word_embeddings(ids) + self.position_embeddings(positions)
        return self.dropout(self.layer_norm(vectors), step)


class SelfAttention(tf_keras.layers.Layer):
    """Multi-head attention of query tokens to all tokens of their review."""

    def __init__(self, config: DistilBertConfig, seeds: np.random.Generator, name: str) -> None:
        super().__init__(name=name)
        self.heads = config.n_heads
        self.head_dim = config.dim // config.n_heads
        self.q_lin = _dense(config.dim, "q_lin", config, seeds)
        self.k_lin = _dense(config.dim, "k_lin", config, seeds)
        self.v_lin = _dense(config.dim, "v_lin", config, seeds)
        self.out_lin = _dense(config.dim, "out_lin", config, seeds)
        self.dropout = Dropout(config.attention_dropout, seeds)

    def call(
        self, queries: tf.Tensor, query_grid: Grid, vectors: tf.Tensor, tokens: Tokens, step: tf.Tensor | None
    ) -> tf.Tensor:
        """Return [queries, dim]: for each query, what its review's `vectors` [tokens, dim] hold for it."""
        query = self._split_heads(query_grid.scatter(self.q_lin(queries) * self.head_dim**-0.5))
        key = self._split_heads(tokens.grid.scatter(self.k_lin(vectors)))
        value = self._split_heads(tokens.grid.scatter(self.v_lin(vectors)))
        scores = tf.cast(tf.matmul(query, key, transpose_b=True), tf.float32)
        probabilities = self.dropout(tf.cast(tf.nn.softmax(scores + tokens.bias), value.dtype), step)
        context = tf.transpose(tf.matmul(probabilities, value), [0, 2, 1, 3])
        context = tf.reshape(context, [query_grid.batch, query_grid.width, self.heads * self.head_dim])
        return self.out_lin(query_grid.gather(context))

    def _split_heads(self, grid: tf.Tensor) -> tf.Tensor:
        """[batch, width, dim] -> [batch, heads, width, head_dim]."""
        shape = tf.concat([tf.shape(grid)[:2], [self.heads, self.head_dim]], axis=0)
        return tf.transpose(tf.reshape(grid, shape), [0, 2, 1, 3])


class TransformerBlock(tf_keras.layers.Layer):
    """Attention and feed-forward network, each with a residual connection and a layer norm after it."""

    def __init__(self, config: DistilBertConfig, seeds: np.random.Generator, name: str, *, cls_only: bool) -> None:
        super().__init__(name=name)
        self.cls_only = cls_only
        self.attention = SelfAttention(config, seeds, "attention")
        self.sa_layer_norm = _layer_norm("sa_layer_norm")
        self.lin1 = _dense(config.hidden_dim, "lin1", config, seeds)
        self.lin2 = _dense(config.dim, "lin2", config, seeds)
        self.dropout = Dropout(config.dropout, seeds)
        self.output_layer_norm = _layer_norm("output_layer_norm")

    def call(self, vectors: tf.Tensor, tokens: Tokens, step: tf.Tensor | None) -> tf.Tensor:
        """[tokens, dim] -> [tokens, dim], or [batch, dim] of the [CLS] tokens with `cls_only`."""
        queries, query_grid = vectors, tokens.grid
        if self.cls_only:
            queries, query_grid = gather_rows(vectors, tokens.first), Grid(tokens.grid.batch, tf.constant(1), None)
        attended = self.sa_layer_norm(queries + self.attention(queries, query_grid, vectors, tokens, step))
        expanded = tf.nn.gelu(self.lin1(attended), approximate=False)
        return self.output_layer_norm(attended + self.dropout(self.lin2(expanded), step))


class DistilBert(tf_keras.layers.Layer):
    """The body: a batch's tokens in, one vector a review out."""

    def __init__(self, config: DistilBertConfig, seeds: np.random.Generator, name: str) -> None:
        super().__init__(name=name)
        self.embeddings = Embeddings(config, seeds, "embeddings")
        self.blocks = [
            TransformerBlock(config, seeds, f"layer_{index}", cls_only=index == config.n_layers - 1)
            for index in range(config.n_layers)
        ]

    def call(self, tokens: Tokens, step: tf.Tensor | None) -> tf.Tensor:
        """Return the last layer's [CLS] vectors, [batch, dim]."""
        vectors = self.embeddings(tokens.ids, tokens.positions, step)
        for block in self.blocks:
            vectors = block(vectors, tokens, step)
        return vectors


class DistilBertClassifier(tf_keras.Model):
    """DistilBERT with the head of transformers' DistilBertForSequenceClassification.

    It has its variables from the start. `unpadded=False` is for `jit_compile=True`, where shapes must not depend on the
    mask. `seed` is that of fresh weights and of dropout; None draws it from TensorFlow's generator, so that
    tf.random.set_seed decides.

    Inputs are {"input_ids", "input_mask"}, int32 or int64 [batch, length], any batch and any length up to
    max_position_embeddings. The first position of each row is its [CLS]: it counts as a token whatever the mask says,
    so that a row of padding alone gives finite logits.
    """

    def __init__(
        self, config: DistilBertConfig, number_of_classes: int = 5, *, unpadded: bool = True, seed: int | None = None
    ) -> None:
        super().__init__(name="distilbert_classifier")
        seeds = np.random.default_rng(_draw_seed() if seed is None else seed)
        self.config = config
        self.number_of_classes = number_of_classes
        self.unpadded = unpadded
        self.distilbert = DistilBert(config, seeds, "distilbert")
        self.pre_classifier = _dense(config.dim, "pre_classifier", config, seeds, activation="relu")
        self.dropout = Dropout(config.seq_classif_dropout, seeds)
        # float32 under mixed precision: the loss is computed from these.
        self.classifier = _dense(number_of_classes, "classifier", config, seeds, dtype="float32")
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

    def call(self, inputs: Mapping[str, tf.Tensor], training: bool | None = None) -> tf.Tensor:  # noqa: FBT001 (Keras's)
        """Return float32 logits, [batch, number_of_classes]."""
        step = self.dropout_step.assign_add(1) if training else None
        # A frozen body is a fixed feature extractor: dropout would add noise that its weights can no longer learn from.
        vectors = self.distilbert(self.tokens(inputs), step if self.distilbert.trainable else None)
        return self.classifier(self.dropout(self.pre_classifier(vectors), step))

    def tokens(self, inputs: Mapping[str, tf.Tensor]) -> Tokens:
        """Return what the body works on: the real tokens, or with `unpadded` False all positions."""
        layout = Tokens.unpadded if self.unpadded else Tokens.padded
        return layout(inputs["input_ids"], inputs["input_mask"])

    def freeze_body(self) -> None:
        """Train the head alone; call it before compile."""
        self.distilbert.trainable = False


def _draw_seed() -> int:
    return int(tf.random.uniform([], maxval=2**31 - 1, dtype=tf.int32))


def _next_seed(seeds: np.random.Generator) -> int:
    return int(seeds.integers(2**31 - 1))


def _normal(config: DistilBertConfig, seeds: np.random.Generator) -> tf_keras.initializers.Initializer:
    return tf_keras.initializers.TruncatedNormal(stddev=config.initializer_range, seed=_next_seed(seeds))


def _dense(
    units: int, name: str, config: DistilBertConfig, seeds: np.random.Generator, **options: str
) -> tf_keras.layers.Dense:
    return tf_keras.layers.Dense(units, name=name, kernel_initializer=_normal(config, seeds), **options)


def _embedding(rows: int, name: str, config: DistilBertConfig, seeds: np.random.Generator) -> tf_keras.layers.Embedding:
    return tf_keras.layers.Embedding(rows, config.dim, name=name, embeddings_initializer=_normal(config, seeds))


def _layer_norm(name: str) -> tf_keras.layers.LayerNormalization:
    return tf_keras.layers.LayerNormalization(epsilon=LAYER_NORM_EPSILON, name=name)
