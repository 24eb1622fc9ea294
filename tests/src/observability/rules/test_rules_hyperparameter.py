"""The hyperparameter debugger_rules."""

import pytest

from observability.rules.configuration import TENSOR_RULES, read_rules
from observability.rules.loss_rules import LossNotDecreasing, Overfit
from star_rating.failures import HyperparameterError


def test_auto_is_every_rule_on_tensors_and_none_is_none() -> None:
    assert [configured.name for configured in read_rules("auto")] == list(TENSOR_RULES)
    assert read_rules(" None ") == []


def test_a_list_names_rules_and_parameters() -> None:
    rules = [configured.rule for configured in read_rules("LossNotDecreasing(num_steps=50, mode = TRAIN) ,Overfit")]
    assert rules == [LossNotDecreasing(num_steps=50, mode="TRAIN"), Overfit()]


WRONG = {
    "Overfitt": "there is no rule 'Overfitt'. Did you mean Overfit?",
    "Overfit(patience=x)": "Overfit's patience is 'x'; a whole number is needed.",
    "Overfit(patienc=1)": "Did you mean patience?",
    "Overfit(patience=1": "'Overfit(patience=1' is no list of rules; write ",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_list_says_what_is_wrong(text: str) -> None:
    with pytest.raises(HyperparameterError) as caught:
        read_rules(text)
    assert str(caught.value).startswith("Hyperparameter debugger_rules: ")
    assert WRONG[text] in str(caught.value)
