"""What other libraries call what has another name, or another place, here."""


def _inverted(table: dict[str, str]) -> dict[str, str]:
    """Return by each word of a table's values the key that it stands under."""
    return {word: key for key, words in table.items() for word in words.split()}


#: What other libraries call what has another name, or another place, here.
_ELSEWHERE = {
    "lr": "learning_rate learning_rate_init eta eta0 base_lr max_lr",
    "max_epochs": "max_iter epochs n_epochs num_epochs iterations num_iterations n_iter",
    "n_cycles (snapshots of one run) or n_chains (networks)": (
        "n_estimators num_boost_round num_trees n_ensemble n_networks n_models ensemble_size"
    ),
    "module__hidden": (
        "hidden_layer_sizes hidden_sizes hidden_units hidden_dims hidden_size layers n_hidden "
        "num_leaves max_depth depth"
    ),
    "module__dropout": "dropout p_drop dropout_rate",
    "fit(X, y, X_val=..., y_val=...)": "eval_set eval_X eval_y validation_data X_val y_val",
    "validation": "validation_fraction valid_fraction validation_split train_split cv n_folds",
    "n_iter_no_change": "patience early_stopping_rounds od_wait tol",
    "optimizer": "solver",
    "optimizer__weight_decay": "alpha weight_decay l2 reg_lambda l2_leaf_reg l2_regularization",
    "optimizer__momentum with optimizer='sgd'": "momentum nesterovs_momentum",
    "criterion": "loss loss_function loss_fn objective",
    "module": "model network estimator base_estimator net_module",
    "categorical_features": "cat_features categorical_feature cat_cols enable_categorical",
    "class_weight": "scale_pos_weight is_unbalance auto_class_weights class_weights",
    "random_state": "seed random_seed",
    "scoring": "eval_metric eval_metrics metric metrics scorer custom_metric",
    "decision": "threshold decision_threshold tuned_threshold",
    "device": "task_type tree_method gpu use_gpu device_type",
    "verbose": "silent verbosity logging_level",
    "batch_size": "batchsize bs",
    "cycle_mult": "T_mult",
    "schedule__min_lr": "eta_min min_lr base_rate",
    "schedule__burn_in_epochs": "warmup warmup_epochs burn_in_epochs",
    "n_cycles": "n_snapshots num_cycles T_0",
    "table__max_categories": "max_categories max_bins",
    "module (a network of your own)": "activation activation_fn batch_norm num_layers n_layers",
    "checkpoint_dir": "checkpoint checkpoint_path save_snapshot snapshot_file train_dir save_dir",
    "time_limit": (
        "max_time timeout time_budget max_seconds max_runtime_secs max_time_mins time_limit_s "
        "total_time_limit time_left_for_this_task per_run_time_limit fit_time_limit "
        "max_train_time training_time_limit"
    ),
    "transform": "augment augmentation augmentations data_augmentation",
    "views": "tta test_time_augmentation",
    "n_jobs": "nthread num_threads thread_count n_threads",
}
FOREIGN = _inverted(_ELSEWHERE)

#: What other libraries call torch's losses.
_LOSSES = {
    "crossentropy": (
        "log_loss logloss softmax binary_crossentropy categorical_crossentropy logistic deviance"
    ),
    "mse": "squared_error mean_squared_error squared_loss rmse l2 reg:squarederror",
    "l1": "mae absolute_error mean_absolute_error",
    "poissonnll": "poisson",
    "gaussiannll": "gaussian",
}
FOREIGN_LOSSES = _inverted(_LOSSES)

#: What to do in place of asking for an attribute that other libraries have.
_INSTEAD = {
    "take predict_proba of a classifier": "decision_function",
    "take sklearn.inspection.permutation_importance": "feature_importances_ coef_ coefs_",
    "take save(path)": "save_model save_params to_pickle dump save_weights save_pretrained",
    "take skensemble.load(path)": "load load_model load_params load_weights from_pretrained",
    "take to_onnx(path)": "export export_onnx to_onnx_model onnx_export",
    "take snapshots_ or net_": "estimators_ module_ model_ state_dict parameters modules",
    "take history_": "loss_curve_ history evals_result_ train_history_ validation_scores_",
    "take validation_score_": "best_score_ oob_score_ best_loss_",
    "take n_iter_ (epochs) or n_cycles_": "best_iteration_ n_estimators_ best_epoch_",
    "take score(X, y)": "evaluate",
    "a regressor predicts values, and SnapshotEnsembleClassifier has it": (
        "predict_proba predict_log_proba staged_predict_proba"
    ),
    "fit sets up everything": "compile train eval summary build",
    "set device='cuda'": "cuda to cpu",
    "take get_params()['transform'], the parameter; an attribute would make it a transformer": (
        "transform"
    ),
}
INSTEAD_OF = _inverted(_INSTEAD)
