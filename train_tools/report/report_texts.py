"""Every word of a report, in English and in Korean."""

TEXTS = {
    "en": {
        "title": "Training report",
        "page_title": "{name}: training report",
        "written_from": "Read from {source} and what lies beside it.",
        # Headline
        "steps": "steps",
        "epochs": "epochs",
        "time": "training time",
        "tokens": "tokens read",
        "tokens_per_second": "tokens a second",
        "minutes": "{minutes} min {seconds} s",
        "hours": "{hours} h {minutes} min",
        "unknown": "not recorded",
        "unfinished": "The log ends at step {step} of {all}, without the Trainer's closing row: the run is still "
        "going "
        "on, was stopped, or this is one of its checkpoints.",
        "best_checkpoint": "Best checkpoint: {checkpoint}, with {metric} {value}.",
        "best_metric": "the chosen figure",
        # Findings
        "findings": "Health",
        "no_findings": "No finding stands in the log, and the held-out figures, where there are any, say nothing "
        "against the run. Findings come from RTDHealthCallback: a run without it has none either.",
        "finding_count": "{count} finding(s):",
        "finding_at": "step {step}",
        "held_out_after": "held-out text, at the end",
        "generator_empty": "The generator's loss is 0: no token was masked, so there was nothing to learn. A "
        "tokenizer that makes [UNK] of the text does this, since [UNK] is never masked.",
        "generator_constant": "The generator is no better than an answer that reads nothing: its loss is {loss}, and "
        "who only knows how frequent each token is (or picks at random, where that is not recorded) has {constant}.",
        "discriminator_empty": "Nothing was replaced, or everything was, so there was nothing to detect: the "
        "discriminator's figures say nothing.",
        "discriminator_chance": "The discriminator is no better than chance: its AUC is {auc}, and whoever guesses "
        "has 50%. More text, more steps or another learning rate may help.",
        "discriminator_constant": "The discriminator's loss is not below that of a constant answer ({loss}, and "
        "{constant}), whatever it knows about the order of tokens (AUC {auc}): its probabilities are not yet, or no "
        "longer, those of the text. If its curve still falls, more steps help; if it rises, fewer epochs or more "
        "text.",
        "not_finite": "{name} was NaN or infinite {count} time(s), first at step {step}. The curves leave these "
        "values "
        "out.",
        # Missing files
        "missing": "What is missing",
        "missing_results": "There is no adapt_results.json, since this run was not made by `electra-rtd adapt` or did "
        "not end. The figures before and after are therefore the first and the last evaluation in the log, and only "
        "the settings that the Trainer keeps are shown.",
        "missing_held_out": "There is no held_out.json: only `electra-rtd adapt` reads the held-out text token by "
        "token, when it ends. Token classes, calibration and single tokens are therefore left out.",
        "missing_evaluations": "The log holds no evaluation, so there are no curves of held-out text: the run had no "
        "eval_strategy.",
        "missing_named_evaluations": "The log holds evaluations of several sets by name. Their curves are left out: "
        "this page reads eval_loss and what stands beside it.",
        # On labels
        "evaluation": "On labels: does it pay?",
        "evaluation_note": "Every encoder is fine-tuned with the same seeds, rows and order, at the learning rate "
        "that is best for it on the validation rows. The interval holds the chance of the seeds and of the test rows: "
        "where it reaches over 0, nobody can tell. In the figure of differences the upright lines are these "
        "intervals; in the figure of scores they go from the lowest to the highest seed.",
        "evaluation_differences": "{metric}: points more than {against}",
        "evaluation_scores": "{metric}, x 100",
        "evaluation_described": "{label}: {values}.",
        "with_interval": "{value} ({low} to {high})",
        "training_rows": "training rows",
        "floor": "naive Bayes",
        "by_probe": "linear probe",
        # Held-out table
        "held_out": "Held-out text, before and after",
        "held_out_note": "The text is corrupted alike each time, except that a better generator puts more plausible "
        "tokens in. The discriminator's task gets harder by that, and its figures can fall while it learns. Look at "
        "the AUC first. “Constant answer” is what an answer gets that reads nothing; only what beats it is called "
        "better. The balanced accuracy is the mean of two accuracies, over masked and over unmasked tokens: whoever "
        "calls everything original has 50% there and half the lucky hits, though most of all tokens are right.",
        # General text that was replayed
        "both_texts": "Gained on the domain, lost on general text",
        "both_texts_note": "Some of every epoch was general text, and some of that was held out too. What got worse "
        "there is what the pair has forgotten of what it knew; a larger replay_share or a lower learning rate keeps "
        "more of it.",
        "domain": "domain",
        "general": "general",
        "figure": "figure",
        "better_when": "better when",
        "lower": "lower",
        "higher": "higher",
        "neither": "—",
        "before": "before",
        "after": "after",
        "at_step": "step {step}",
        "change": "change",
        "verdict": "result",
        "better": "▲ better",
        "worse": "▼ worse",
        "same": "= same",
        "empty": "∅ empty",
        "chance": "✗ no better than chance",
        "constant": "✗ no better than a constant answer",
        "constant_answer": "constant answer",
        # Figures by name
        "loss": "Loss",
        "mlm_loss": "Generator's loss",
        "disc_loss": "Discriminator's loss",
        "gen_acc": "Generator's accuracy",
        "disc_acc": "Discriminator's balanced accuracy",
        "disc_precision": "Precision of “replaced”",
        "disc_recall": "Recall of “replaced”",
        "disc_f1": "F1 of “replaced”",
        "disc_auc": "AUC of “replaced”",
        "gen_perplexity": "Generator's perplexity",
        "gen_top1": "Generator: best guess is right",
        "gen_top5": "Generator: right among five",
        "disc_logit_std": "Spread of the logits",
        "lucky_hits": "Lucky hits",
        "replaced_share": "Replaced tokens",
        "learning_rate": "Learning rate",
        "grad_norm": "Gradient norm",
        "sampling_temperature": "Sampling temperature (schedule)",
        "disc_weight": "Weight of the discriminator's loss (schedule)",
        "mask_prob": "Share of tokens that are masked (schedule)",
        "detection": "“Replaced” in held-out text",
        "guesses": "Guesses in held-out text",
        "calibration_error": "Expected calibration error",
        # Curves
        "losses": "Losses",
        "accuracies": "How well the two networks do",
        "optimisation": "Optimisation and speed",
        "curves_note": "Long curves are drawn with at most {limit} points: the lowest and the highest of each "
        "stretch, so that no spike is lost.",
        "no_speed": "The log does not hold the speed over time; over the whole run see the top of the page.",
        "training": "training",
        "held_out_short": "held out",
        "step": "step",
        "constant_short": "constant answer",
        "precision_short": "precision",
        "recall_short": "recall",
        "top1_short": "best guess",
        "top5_short": "among five",
        "described": "{label}: {first} at step {first_step}, {last} at step {last_step}; lowest {lowest}, highest "
        "{highest}.",
        "numbers": "Figures behind this chart",
        # Confusion
        "confusion": "What the discriminator catches, by kind of token",
        "confusion_note": "By the original token. Every token is frequent or rare, and, counted once more, Korean, "
        "Latin, a digit or something else.",
        "class": "kind",
        "all": "all",
        "frequent": "frequent",
        "rare": "rare",
        "korean": "Korean",
        "latin": "Latin",
        "digit": "digit",
        "other": "other",
        "caught": "caught",
        "missed": "missed",
        "right": "left alone",
        "false_alarms": "false alarms",
        "recall_rate": "caught of replaced",
        "false_alarm_rate": "false alarms of original",
        "precision_rate": "right of alarms",
        "confusion_after": "After training (before → after in the last three columns)",
        "replaced_bars": "Replaced tokens",
        "original_bars": "Original tokens",
        "bar_row": "{label}, {side}",
        "bar_described": "{label}: {shares}.",
        "share_axis": "share of tokens",
        # Calibration
        "calibration": "Can its probabilities be believed?",
        "calibration_note": "Of the tokens to which the discriminator gives 30%, thirty in a hundred should be "
        "replaced: points on the diagonal. Vertical lines are 95% intervals. The expected calibration error is the "
        "distance between share and mean probability, averaged over {bins} bins with their tokens as weights: "
        "{before} "
        "before, {after} after.",
        "reliability": "Probability and truth",
        "probability_counts": "Tokens by probability",
        "probability": "probability of “replaced”",
        "share_replaced": "share that was replaced",
        "bin": "bin",
        "point_described": "{label}: {count} bins with tokens, expected calibration error {error}.",
        "count_described": "{label}: {count} tokens, {low} of them below 50%.",
        "bin_count": "tokens, {side}",
        "bin_mean": "mean probability, {side}",
        "bin_share": "replaced, {side}",
        # Tokens
        "token_tables": "Tokens",
        "token_note": "Only tokens with at least {least} judged places. The order goes by a 95% bound, not by the "
        "share "
        "itself: a token met five times has to do much better than one met five hundred times to stand before it.",
        "generator_improved": "Generator: most improved",
        "generator_worst": "Generator: worst after training",
        "discriminator_improved": "Discriminator: most improved",
        "discriminator_worst": "Discriminator: worst after training",
        "generator_rate": "Share of masked places where the token is among the five best guesses",
        "discriminator_rate": "Share of occurrences with a wrong verdict: missed, or a false alarm",
        "token": "token",
        "masked_places": "masked",
        "occurrences": "occurrences",
        "surely": "surely better by",
        "at_most": "at most",
        "at_least": "at least",
        "points_unit": "{value} points",
        "none_better": "None: no token is surely better. More held-out text makes smaller gains certain.",
        "none_worse": "None: no token with enough judged places was wrong.",
        # Settings
        "settings": "Settings and versions",
        "fast": "Fast settings",
        "fast_note": "Chosen for the machine where nothing was given.",
        "setting": "setting",
        "value": "value",
        "why": "why",
        "run_settings": "Settings of the run",
        "model_settings": "Settings of the model",
        "versions": "Versions",
        "library": "library",
        "datasets": "Data sets: {names}",
        "none_recorded": "None were recorded.",
        # The figures as one picture
        "png_title": "{name} · {steps} steps",
    },
    "ko": {
        "title": "학습 보고서",
        "page_title": "{name}: 학습 보고서",
        "written_from": "{source} 파일과 같은 폴더에 있는 기록을 읽어 만들었습니다.",
        "steps": "스텝",
        "epochs": "에폭",
        "time": "학습 시간",
        "tokens": "읽은 토큰",
        "tokens_per_second": "초당 토큰",
        "minutes": "{minutes}분 {seconds}초",
        "hours": "{hours}시간 {minutes}분",
        "unknown": "기록 없음",
        "unfinished": "기록이 전체 {all}스텝 중 {step}스텝에서 끊겼고 Trainer의 마무리 기록이 없습니다. 아직 학습 "
        "중이거나 "
        "도중에 멈춘 실행, 또는 중간 체크포인트입니다.",
        "best_checkpoint": "가장 좋은 체크포인트: {checkpoint} ({metric} {value})",
        "best_metric": "고른 지표",
        "findings": "학습 상태",
        "no_findings": "기록에 남은 이상 징후가 없고, 검증 수치가 있다면 그 수치에도 문제가 보이지 "
        "않습니다. 징후는 RTDHealthCallback이 남기므로, 이 콜백 없이 "
        "학습했다면 "
        "문제가 있어도 기록되지 않습니다.",
        "finding_count": "이상 징후가 {count}건 있습니다.",
        "finding_at": "{step}스텝",
        "held_out_after": "학습 후 검증 텍스트",
        "generator_empty": "생성기 손실이 0입니다. 가려진 토큰이 하나도 없어서 배울 것이 없었습니다. 토크나이저가 "
        "텍스트를 [UNK]로만 바꾸면 이렇게 됩니다. [UNK]는 가리지 않기 때문입니다.",
        "generator_constant": "생성기가 글을 읽지 않는 답보다 나을 것이 없습니다. 손실은 {loss}이고, 토큰이 얼마나 "
        "자주 나오는지만 아는 답(기록이 없으면 무작위 선택)의 손실은 {constant}입니다.",
        "discriminator_empty": "바뀐 토큰이 없거나 모든 토큰이 바뀌어서 찾아낼 것이 없었습니다. 판별기 수치에는 "
        "의미가 없습니다.",
        "discriminator_chance": "판별기가 찍는 것보다 나을 것이 없습니다. AUC가 {auc}인데, 찍기만 해도 50%입니다. "
        "텍스트나 스텝을 늘리거나 학습률을 바꿔 보세요.",
        "discriminator_constant": "판별기 손실이 고정 답보다 낮지 않습니다(판별기 {loss}, 고정 답 {constant}). 토큰의 "
        "순서를 어느 정도 알더라도(AUC {auc}) 확률 값이 텍스트와 맞지 않습니다. 손실 곡선이 아직 내려가고 있으면 "
        "스텝을 늘리고, 올라가고 있으면 에폭을 줄이거나 텍스트를 늘려 보세요.",
        "not_finite": "{name} 값이 NaN 또는 무한대로 {count}번 기록되었습니다(처음은 {step}스텝). 그래프에서는 이 "
        "값을 "
        "뺐습니다.",
        "missing": "빠진 내용",
        "missing_results": "adapt_results.json이 없습니다. `electra-rtd adapt`로 만든 실행이 아니거나 끝까지 가지 "
        "못한 "
        "실행입니다. 그래서 학습 전후 수치는 기록에 있는 첫 평가와 마지막 평가이며, 설정은 Trainer가 남긴 것만 "
        "보여 줍니다.",
        "missing_held_out": "held_out.json이 없습니다. 검증 텍스트를 토큰 하나하나 살피는 일은 `electra-rtd "
        "adapt`가 끝날 "
        "때만 합니다. 그래서 토큰 종류별 결과, 확률 보정, 개별 토큰 표는 빠져 있습니다.",
        "missing_evaluations": "기록에 평가가 없어 검증 텍스트의 곡선이 없습니다. eval_strategy 없이 학습한 "
        "실행입니다.",
        "missing_named_evaluations": "기록에 이름을 붙인 여러 검증 세트의 평가가 있습니다. 이 페이지는 eval_loss와 "
        "그 옆의 값만 읽으므로 그 곡선은 빠져 있습니다.",
        # 라벨로 본 결과
        "evaluation": "라벨로 재면 쓸모가 있는가?",
        "evaluation_note": "모든 인코더를 같은 시드, 같은 행, 같은 순서로 미세 조정하고, 학습률은 인코더마다 검증 "
        "행에서 가장 좋은 값을 씁니다. 구간에는 시드와 평가 행의 우연이 모두 들어 있고, 0에 걸치면 알 수 없습니다. "
        "차이 그림의 세로선은 이 구간이고, 점수 그림의 세로선은 가장 낮은 시드부터 가장 높은 시드까지입니다.",
        "evaluation_differences": "{metric}: {against} 대비 포인트",
        "evaluation_scores": "{metric} x 100",
        "evaluation_described": "{label}: {values}.",
        "with_interval": "{value} ({low} ~ {high})",
        "training_rows": "학습 행",
        "floor": "나이브 베이즈",
        "by_probe": "선형 탐침",
        "held_out": "검증 텍스트에서 본 학습 전과 후",
        "held_out_note": "텍스트는 매번 같은 자리를 가립니다. 다만 생성기가 좋아질수록 더 그럴듯한 토큰을 넣으므로 "
        "판별기가 풀 문제는 어려워집니다. 그래서 판별기는 배우고 있어도 수치가 내려갈 수 있습니다. AUC를 먼저 보세요. "
        "“고정 답”은 글을 읽지 않고 늘 같은 답을 할 때의 값이며, 이보다 나을 때만 좋아졌다고 합니다. 균형 정확도는 "
        "가려진 토큰과 가리지 않은 토큰의 정확도를 따로 구해 평균한 값입니다. 모두 원본이라고만 해도 50%에 우연히 "
        "맞힌 비율의 절반이 더해집니다. 전체 토큰으로 보면 대부분을 맞혔더라도 그렇습니다.",
        "both_texts": "도메인에서 얻은 것과 일반 텍스트에서 잃은 것",
        "both_texts_note": "에폭마다 일반 텍스트를 섞어 학습했고, 그중 일부는 검증용으로 남겨 두었습니다. 일반 "
        "텍스트에서 나빠진 만큼이 원래 알던 것을 잊은 것입니다. replay_share를 키우거나 학습률을 낮추면 덜 잊습니다.",
        "domain": "도메인",
        "general": "일반",
        "figure": "지표",
        "better_when": "좋은 방향",
        "lower": "낮을수록",
        "higher": "높을수록",
        "neither": "—",
        "before": "학습 전",
        "after": "학습 후",
        "at_step": "{step}스텝",
        "change": "변화",
        "verdict": "결과",
        "better": "▲ 좋아짐",
        "worse": "▼ 나빠짐",
        "same": "= 그대로",
        "empty": "∅ 빈 목표",
        "chance": "✗ 찍기보다 낫지 않음",
        "constant": "✗ 고정 답보다 낫지 않음",
        "constant_answer": "고정 답",
        "loss": "손실",
        "mlm_loss": "생성기 손실",
        "disc_loss": "판별기 손실",
        "gen_acc": "생성기 정확도",
        "disc_acc": "판별기 균형 정확도",
        "disc_precision": "바뀐 토큰 정밀도",
        "disc_recall": "바뀐 토큰 재현율",
        "disc_f1": "바뀐 토큰 F1",
        "disc_auc": "바뀐 토큰 AUC",
        "gen_perplexity": "생성기 퍼플렉시티",
        "gen_top1": "생성기: 첫 번째 추측이 정답",
        "gen_top5": "생성기: 추측 다섯 개 안에 정답",
        "disc_logit_std": "로짓의 퍼짐",
        "lucky_hits": "우연히 맞힌 토큰",
        "replaced_share": "바뀐 토큰 비율",
        "learning_rate": "학습률",
        "grad_norm": "기울기 크기",
        "sampling_temperature": "샘플링 온도 (스케줄)",
        "disc_weight": "판별자 손실의 가중치 (스케줄)",
        "mask_prob": "마스킹하는 토큰의 비율 (스케줄)",
        "detection": "검증 텍스트의 바뀐 토큰 찾기",
        "guesses": "검증 텍스트의 추측",
        "calibration_error": "기대 보정 오차",
        "losses": "손실",
        "accuracies": "두 모델의 성적",
        "optimisation": "최적화와 속도",
        "curves_note": "긴 곡선은 점 {limit}개 이내로 줄여 그립니다. 구간마다 가장 낮은 값과 가장 높은 값을 남기므로 "
        "튀는 값도 사라지지 않습니다.",
        "no_speed": "시간에 따른 속도는 기록에 없습니다. 전체 평균은 맨 위에 있습니다.",
        "training": "학습",
        "held_out_short": "검증",
        "step": "스텝",
        "constant_short": "고정 답",
        "precision_short": "정밀도",
        "recall_short": "재현율",
        "top1_short": "첫 번째 추측",
        "top5_short": "다섯 개 안",
        "described": "{label}: {first_step}스텝에서 {first}, {last_step}스텝에서 {last}. 최저 {lowest}, 최고 "
        "{highest}.",
        "numbers": "그래프의 수치 보기",
        "confusion": "판별기는 어떤 토큰을 찾아내는가",
        "confusion_note": "원래 토큰을 기준으로 나눕니다. 모든 토큰은 자주 쓰이는 토큰이거나 드문 토큰이고, 이와 "
        "별도로 "
        "한글, 로마자, 숫자, 기타로도 나눕니다.",
        "class": "종류",
        "all": "전체",
        "frequent": "자주 쓰임",
        "rare": "드묾",
        "korean": "한글",
        "latin": "로마자",
        "digit": "숫자",
        "other": "기타",
        "caught": "찾아냄",
        "missed": "놓침",
        "right": "그대로 둠",
        "false_alarms": "잘못 의심",
        "recall_rate": "바뀐 토큰 중 찾아냄",
        "false_alarm_rate": "원래 토큰 중 잘못 의심",
        "precision_rate": "의심한 것 중 맞음",
        "confusion_after": "학습 후 (마지막 세 열은 학습 전 → 학습 후)",
        "replaced_bars": "바뀐 토큰",
        "original_bars": "원래 그대로인 토큰",
        "bar_row": "{label}, {side}",
        "bar_described": "{label}: {shares}.",
        "share_axis": "토큰 비율",
        "calibration": "확률을 믿어도 되는가",
        "calibration_note": "판별기가 30%라고 한 토큰은 백 개 중 서른 개가 실제로 바뀐 토큰이어야 합니다. 점이 "
        "대각선에 "
        "놓이면 그렇습니다. 세로선은 95% 구간입니다. 기대 보정 오차는 구간 {bins}개에서 실제 비율과 평균 확률의 "
        "차이를 토큰 수로 가중 평균한 값이며, 학습 전 {before}, 학습 후 {after}입니다.",
        "reliability": "확률과 실제",
        "probability_counts": "확률별 토큰 수",
        "probability": "바뀌었다고 본 확률",
        "share_replaced": "실제로 바뀐 비율",
        "bin": "구간",
        "point_described": "{label}: 토큰이 있는 구간 {count}개, 기대 보정 오차 {error}.",
        "count_described": "{label}: 토큰 {count}개, 그중 {low}개가 50% 미만.",
        "bin_count": "토큰, {side}",
        "bin_mean": "평균 확률, {side}",
        "bin_share": "실제로 바뀜, {side}",
        "token_tables": "토큰",
        "token_note": "판정한 자리가 {least}곳 이상인 토큰만 싣습니다. 순서는 비율이 아니라 95% 신뢰 한계로 "
        "정합니다. 다섯 번 "
        "나온 토큰이 오백 번 나온 토큰보다 앞에 서려면 훨씬 더 좋아져야 합니다.",
        "generator_improved": "생성기: 가장 좋아진 토큰",
        "generator_worst": "생성기: 학습 후 가장 못 맞히는 토큰",
        "discriminator_improved": "판별기: 가장 좋아진 토큰",
        "discriminator_worst": "판별기: 학습 후 가장 자주 틀리는 토큰",
        "generator_rate": "가려진 자리에서 상위 다섯 개 추측 안에 정답이 있는 비율",
        "discriminator_rate": "놓치거나 잘못 의심해 판정이 틀린 비율",
        "token": "토큰",
        "masked_places": "가려진 횟수",
        "occurrences": "나온 횟수",
        "surely": "확실한 개선 폭",
        "at_most": "최대",
        "at_least": "최소",
        "points_unit": "{value}%p",
        "none_better": "없음: 확실히 좋아졌다고 할 수 있는 토큰이 없습니다. 검증 텍스트가 많을수록 작은 "
        "개선도 확인할 수 있습니다.",
        "none_worse": "없음: 판정한 자리가 충분한 토큰 중 틀린 것이 없습니다.",
        "settings": "설정과 버전",
        "fast": "빠른 설정",
        "fast_note": "따로 지정하지 않은 항목을 컴퓨터에 맞춰 고른 것입니다.",
        "setting": "항목",
        "value": "값",
        "why": "이유",
        "run_settings": "실행 설정",
        "model_settings": "모델 설정",
        "versions": "버전",
        "library": "라이브러리",
        "datasets": "데이터 세트: {names}",
        "none_recorded": "기록이 없습니다.",
        "png_title": "{name} · {steps}스텝",
    },
}
