"""Published results for KDD99, with sources. No number of a run depends on them."""

from __future__ import annotations

from ebbench import Published

EN_GAN = "Kumar et al., EnGAN (ICLR 2019 submission, first version of MEG), KDD99 table"
DAGMM = "Zong et al., DAGMM (ICLR 2018), Table 2"

PUBLISHED: tuple[Published, ...] = (
    Published(
        label="MEG, mean of the last 10 epochs, 5 runs",
        # Its precision .9307 +- .0146 and recall .9472 +- .0153 are also means of this kind.
        metrics={"f1_last10": (0.9389, 0.0148)},
        source=EN_GAN,
        confidence="verbatim",
        model="meg",
    ),
    Published.row(
        "DAGMM, 20 runs",
        {"precision": 0.9297, "recall": 0.9442, "f1": 0.9369},
        f"{DAGMM}, and {EN_GAN}",
        model="dagmm",
    ),
    Published.row(
        "DSEBM-e",
        {"precision": 0.8619, "recall": 0.6446, "f1": 0.7399},
        f"{DAGMM}, and {EN_GAN}",
        model="dsebm",
    ),
    Published.row(
        "DSEBM-r",
        {"precision": 0.8521, "recall": 0.6472, "f1": 0.7328},
        DAGMM,
        model="dsebm:reconstruction",
    ),
    Published.row(
        "OC-SVM",
        {"precision": 0.7457, "recall": 0.8523, "f1": 0.7954},
        f"{DAGMM}, and {EN_GAN}",
        model="oc-svm",
    ),
    Published.row(
        "Kernel PCA", {"precision": 0.8627, "recall": 0.6319, "f1": 0.7352}, EN_GAN, model="kernel-pca"
    ),
    Published.row(
        "BiGAN (Zenati et al.)",
        {"precision": 0.9200, "recall": 0.9582, "f1": 0.9372},
        "Zenati et al., Efficient GAN-Based Anomaly Detection (2018), as quoted in its issue 7",
        "quoted",
        model="bigan",
    ),
    Published.row("DCN", {"precision": 0.7696, "recall": 0.7829, "f1": 0.7762}, DAGMM),
    Published.row("GMM-EN", {"precision": 0.1932, "recall": 0.1967, "f1": 0.1949}, DAGMM),
    Published.row("PAE", {"precision": 0.7276, "recall": 0.7397, "f1": 0.7336}, DAGMM),
    Published.row("E2E-AE", {"precision": 0.0024, "recall": 0.0025, "f1": 0.0024}, DAGMM),
    Published.row("PAE-GMM", {"precision": 0.7251, "recall": 0.7384, "f1": 0.7317}, DAGMM),
    Published.row("DAGMM-p", {"precision": 0.7579, "recall": 0.7710, "f1": 0.7644}, DAGMM),
)
