"""Other people's Hub repositories that idgen names, each with the commit that is fetched unless another is asked for.

The commits are those that public code and the repositories' own pages name; the Hub could not be asked from here.
"""

REVISIONS = {
    "FoivosPar/Arc2Face": "321709b2e9697ea2a5bd06c8a51b340592333e1e",
    "stable-diffusion-v1-5/stable-diffusion-v1-5": "451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
    "latent-consistency/lcm-lora-sdv1-5": "cf2fced511dbe7e26c8d1d397e728fbab875db4b",
    "DIAMONIK7777/antelopev2": "ba0c3e10f4548361eb9a63265d87ce1140ab5a05",
}
