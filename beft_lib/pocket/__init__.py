"""The pocket world: a small language with a known entropy, its tasks, and the models pretrained on it.

``chooser`` → ``words``, ``sentences`` → ``examples``, ``inference`` → ``texts`` (the corpus), ``tasks`` (the files),
``entropy`` (what cannot be predicted), ``overlap`` → ``tokenizer``, ``corpus``, ``pretrain``, ``headroom``,
``measure``, ``targets``, ``card``, ``build``; ``pictures`` for the lesson.
"""
