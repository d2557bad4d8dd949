"""What ADBench reports, with its source. No number of a run depends on it.

The tables of the paper's appendix are not at hand. These are the project's own numbers from an early state of
its repository, for sets whose rows are the same today and whose split our protocol `adbench` reproduces.
"""

from __future__ import annotations

from ebbench import Published

SOURCE = (
    "ADBench's repository, result/AUCROC_DB_test_Tabular_None_None_unsupervise.csv of commit 6a9c8b0 (2022, "
    "before the paper); the mean of its seeds 1, 2 and 3"
)
# The file's names, and the plug-ins that answer to them.
DETECTORS = {
    "IForest": "isolation-forest",
    "OCSVM": "oc-svm",
    "COPOD": "copod",
    "ECOD": "ecod",
    "HBOS": "hbos",
    "KNN": "knn",
    "LOF": "lof",
}
# AUROC to four digits: by set and detector, in the order of DETECTORS, of seeds 1, 2 and 3.
AUROC: dict[str, tuple[tuple[float, float, float], ...]] = {
    "breastw": (
        (0.9790, 0.9855, 0.9883),
        (0.7506, 0.8590, 0.7995),
        (0.9951, 0.9975, 0.9979),
        (0.9898, 0.9939, 0.9914),
        (0.9871, 0.9934, 0.9876),
        (0.9663, 0.9769, 0.9672),
        (0.3315, 0.4449, 0.3907),
    ),
    "cardio": (
        (0.9428, 0.9404, 0.9446),
        (0.9517, 0.9431, 0.9224),
        (0.9380, 0.9406, 0.8918),
        (0.9463, 0.9501, 0.9101),
        (0.8723, 0.8555, 0.8121),
        (0.7815, 0.7446, 0.7732),
        (0.6702, 0.6605, 0.6593),
    ),
    "Cardiotocography": (
        (0.7212, 0.6852, 0.6596),
        (0.7986, 0.7757, 0.7615),
        (0.6885, 0.6805, 0.6416),
        (0.8002, 0.7901, 0.7609),
        (0.6353, 0.5979, 0.5927),
        (0.5805, 0.5808, 0.5257),
        (0.6317, 0.5906, 0.5631),
    ),
    "glass": (
        (0.7628, 0.7355, 0.7734),
        (0.3801, 0.2150, 0.4659),
        (0.7119, 0.6840, 0.7769),
        (0.6443, 0.6116, 0.7190),
        (0.7612, 0.7636, 0.7921),
        (0.7087, 0.8799, 0.8802),
        (0.7186, 0.6218, 0.7355),
    ),
    "Ionosphere": (
        (0.8566, 0.8260, 0.8419),
        (0.7659, 0.7311, 0.7807),
        (0.8134, 0.7579, 0.8087),
        (0.7472, 0.7064, 0.7409),
        (0.6381, 0.5836, 0.6529),
        (0.9294, 0.8274, 0.8909),
        (0.9340, 0.8823, 0.9013),
    ),
    "letter": (
        (0.6450, 0.6001, 0.6164),
        (0.4681, 0.4521, 0.4650),
        (0.5506, 0.5511, 0.5279),
        (0.5832, 0.5513, 0.5469),
        (0.6044, 0.6196, 0.5681),
        (0.8564, 0.8406, 0.8886),
        (0.8332, 0.8497, 0.8519),
    ),
    "Pima": (
        (0.7569, 0.7337, 0.6821),
        (0.7019, 0.6908, 0.6150),
        (0.6931, 0.7164, 0.6636),
        (0.6534, 0.6364, 0.6017),
        (0.7133, 0.7335, 0.6853),
        (0.7521, 0.7392, 0.7116),
        (0.6661, 0.6364, 0.6687),
    ),
    "vowels": (
        (0.7686, 0.7803, 0.8052),
        (0.5874, 0.6417, 0.6186),
        (0.4923, 0.5422, 0.5602),
        (0.6188, 0.6196, 0.6288),
        (0.7046, 0.7321, 0.7295),
        (0.9742, 0.9803, 0.9633),
        (0.9419, 0.9425, 0.9093),
    ),
    "wine": (
        (0.7228, 0.8524, 0.7786),
        (0.7474, 0.7752, 0.6696),
        (0.8746, 0.9136, 0.8713),
        (0.7672, 0.8057, 0.7437),
        (0.9165, 0.9155, 0.9089),
        (0.5010, 0.3876, 0.4606),
        (0.3893, 0.3054, 0.4377),
    ),
}

PUBLISHED: tuple[Published, ...] = tuple(
    Published.row(
        f"{name} on {table}",
        {"auroc": round(sum(seeds) / len(seeds), 4)},
        SOURCE,
        model=model,
        protocol="adbench",
        options={"sets": table},
    )
    for table, by_detector in AUROC.items()
    for (name, model), seeds in zip(DETECTORS.items(), by_detector, strict=True)
)
