"""Pure tensor functions: the mathematics of the papers.

Symbols of papers/wcnas, by their name in the code:

=====================  =====================================================
``alphas``             A, architecture
``weights``            W, the learner's weights
``generator``          G, parameters of the tester's generator
``hyperparameters``    B, momentum and weight of the feature quantisation, or
                       P, the augmentation policy
``auxiliary``          V, the auxiliary model
``trade_off``          lambda, meaningfulness against hardness
``average_weight``     gamma, average case against worst case
``lr``                 eta, with the group's optimiser
=====================  =====================================================
"""
