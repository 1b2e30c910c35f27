# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # From a folder of poems to a model that writes them
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/)
#
# *The badge opens Colab's page for notebooks from GitHub. Enter the address of this repository
# there, or choose "Upload" and give it the file `notebooks/poet.ipynb`.*
#
# In this notebook you train a language model in five stages. It starts with random weights. At the
# end it writes classical Chinese poems of the kind that you prefer. The training is real: it uses
# transformers and TRL, and the same scripts as `make run`. On two CPU cores everything takes less
# than six minutes.
#
# You need no Chinese. Titles have a translation, and some poems have one too. The
# [book](../book/README.md) explains each stage in a chapter of its own. Every stage has a line with
# the comment `change this`. Change it, and run the cell again.

# %% [markdown]
# ## Install
#
# In a clone where you ran `make run`, this cell has nothing to do. Open the notebook in VS Code or
# Jupyter, and choose the Python in `.venv` as its kernel. JupyterLab is not part of `make run`:
#
#     .venv/bin/pip install jupyterlab
#     .venv/bin/jupyter lab notebooks/poet.ipynb
#
# On Colab, the cell downloads the repository and installs its packages. Write the address of the
# repository first. Colab itself was not tried yet.

# %%
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

ADDRESS = "https://github.com/OWNER/poet"  # on Colab: the address of the repository

ON_COLAB = "google.colab" in sys.modules
folders = [Path.cwd(), *Path.cwd().parents]
ROOT = next((folder for folder in folders if (folder / "train_pretrain.py").is_file()), None)
if ROOT is None:
    if "OWNER" in ADDRESS:
        raise ValueError("Write the address of the repository into ADDRESS. Run this cell again.")
    ROOT = Path.cwd() / "poet"
if not ROOT.exists():
    subprocess.run(["git", "clone", "--quiet", ADDRESS, ROOT], check=True)
os.chdir(ROOT)
sys.path.insert(0, str(ROOT))
if ON_COLAB or importlib.util.find_spec("trl") is None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--editable", "."]
    subprocess.run(pip, check=True)
else:
    print("The packages are already installed. There is nothing to do.")

import poet

print(f"This is Poet {poet.__version__}.")

# %% [markdown]
# ## Choose a recipe
#
# A *recipe* is a folder with every number of a training ([list](../configs/README.md)). The recipe
# `sample` is very small. It learns from poems in this repository, which a larger model wrote. The
# recipe `tang` is the main one. It downloads the poems of the Tang dynasty (618 to 907). On a GPU,
# you can also try `tang-gpu`, whose model is larger.

# %%
from poet import device

RECIPE = "tang" if ON_COLAB and device.has_accelerator() else "sample"  # change this

RUN = Path("runs/notebook") / RECIPE
print(f"The recipe is {RECIPE}. Its run goes to {RUN}.")

# %% [markdown]
# The next cell has two helpers. `run` shows the output of a command. `config` names a stage's file
# of numbers.

# %%
import re
import shlex
import warnings

warnings.filterwarnings("ignore", message="IProgress")  # about bars that are switched off

from poet.training.progress import silence_libraries

silence_libraries()


def run(command: str) -> None:
    """Runs `python COMMAND` and prints its output, without the lines' speed and time left."""
    print("$ python", command)
    words = [sys.executable, "-u", *shlex.split(command)]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(words, encoding="utf-8", **pipe) as process:
        for line in process.stdout:
            print(re.sub(r"  [\d,]+ tokens/s|  \d+ s left", "", line.rstrip()))
    if process.returncode:
        raise RuntimeError("The command failed. Its last lines say why.")


def config(stage: str) -> Path:
    """Returns the recipe's file for a stage. `tang-gpu` shares those that it lacks with `tang`."""
    path = Path("configs") / RECIPE / f"{stage}.yaml"
    return path if path.is_file() else Path("configs/tang") / path.name


# %% [markdown]
# ## Stage 1: Data
#
# A model learns from examples, so the first work is to collect and clean them. The poems are split
# into three sets, one for each kind of training. A tenth of each set is *held out*: no training
# sees it, so it can test the model.
#
# **Look at** the last line of the output. It counts the rows of each set. [Chapter
# 1](../book/01-tokenizer.md) explains the rest of this stage.

# %%
from poet.data.build import build_datasets, format_summary
from poet.data.options import DataOptions
from poet.training.command_line import parse

(options,) = parse(DataOptions, argv=["--config", str(config("data"))])
print(format_summary(build_datasets(options, RUN)))

# %% [markdown]
# The model reads numbers. The *tokenizer* gives each character an id. A character that no poem has
# becomes one to four bytes, so the model can read any text. The four characters below mean *joyful
# rain on a spring night*. After them stand a smiling face and an English word.

# %%
from poet.data.run_data import make_tokenizer
from poet.training.command_line import recipe_numbers
from poet.training.options import PretrainOptions
from poet_tokenizer import encode_text

TEXT = "春夜喜雨 😊 rain"  # change this

size_options, numbers = recipe_numbers(PretrainOptions, config("pretrain"))
tokenizer = make_tokenizer(RUN, size_options.n_positions)
ids = encode_text(tokenizer, TEXT)
print(len(TEXT), "characters,", len(ids), "tokens")
for token_id, token in zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True):
    print(f"{token_id:5} {token}")

# %% [markdown]
# ## Stage 2: Configuration
#
# The model is a GPT-2. The recipe says how many layers it has. The *width* is the count of numbers
# that describe one character on its way through the layers. The *parameters* are the numbers that
# training adjusts.
#
# **Look at** the shares. In a small model, the table with one row per character is a large part.
# [Chapter 5](../book/05-model.md) opens each part. The idea behind the middle part, attention, is
# in [chapter 4](../book/04-attention.md).

# %%
from poet.training import size


def show_size(options: PretrainOptions) -> None:
    """Prints the shape of a model and the share of each of its parts."""
    parts = size.parameters(options, len(tokenizer))
    total = sum(parts.values())
    print(f"{options.n_layer} layers, width {options.n_embd}: {total:,} parameters")
    for name, count in parts.items():
        print(f"  {count / total:4.0%}  {name}")


show_size(size_options)

# %% [markdown]
# Twice the width needs four times the parameters in attention and in the feed-forward layers. Is
# that also true of the embeddings? This cell only counts. It does not change the training below.

# %%
from dataclasses import replace

show_size(replace(size_options, n_layer=3, n_embd=256))  # change this

# %% [markdown]
# ## Stage 3: Pretraining
#
# The model reads poems and guesses each next character. The *loss* says how surprised it was, in
# nats per character. Each step changes the weights so that the loss falls a little. Nobody tells
# the model what a line is. The model finds the marks and the length of lines on its own.
#
# **Look at** the samples between the numbers. The first one comes from random weights. When do the
# marks ， and 。 appear? When do lines get equal lengths?
#
# **Look at** the held-out loss too. It measures poems that the model was not trained on. [Chapter
# 6](../book/06-pretraining.md) reads such a curve. Chapters [2](../book/02-next-character.md) and
# [3](../book/03-learning.md) explain the loss and how steps lower it. [Chapter
# 7](../book/07-speed.md) says why a step is fast.

# %%
from poet.data.run_data import first_rows
from poet.data.show import show_stage


def show_rows(stage: str, count: int = 2) -> None:
    """Prints how the first rows of a stage enter the model."""
    rows = first_rows(RUN, stage, "train", count)
    print(show_stage(stage, rows, tokenizer, size_options.n_positions))


show_rows("pretrain", count=20)

# %%
run(f"train_pretrain.py --config {config('pretrain')} --output_dir {RUN}/pretrain")

# %%
from IPython.display import Image

Image(RUN / "pretrain" / "curves.png", width=700)

# %% [markdown]
# The start of the sample is a held-out title, *wine on a winter day*. These lines of the stored
# output show that the model soon knows words. They make no sense yet:
#
# | line | word by word |
# |---|---|
# | 冬日對酒瞻棟諶鸘慣來 | step 0: the title, then gaze, roof beam, sincere, a bird, used to |
# | 今時必落日日新落相生。 | step 100: now, must, setting sun, daily new, fall, each other, live |
# | 此夜夜涼來極半， | step 300: this night, the night cool, come, utmost, half |
# | 雨淚沙平夕卷誰斷， | step 300: rain, tears, sand, level, evening, roll up, who, break off |
#
# The pretrained model continues any text. The start below means *the spring wind*.

# %%
from poet.generation.write import continue_texts

START = "春風"  # change this
SEED = 1  # another number gives another text

pretrained, tokenizer = poet.load(RUN / "pretrain")
print(*continue_texts(pretrained, tokenizer, [START], new_tokens=48, seed=SEED))

# %% [markdown]
# ## Stage 4: Fine-tuning
#
# The pretrained model continues text. It cannot answer a request. Fine-tuning shows pairs: the
# prompt holds a title, and the answer is its poem. The loss counts only the characters of the poem.
# In the row below, the label -100 marks tokens that do not count.
#
# **Look at** the sample again. The title is now part of the prompt, so the model does not repeat
# it. The poem ends on its own, because the model also learned the mark `<end>`. [Chapter
# 8](../book/08-fine-tuning.md) explains prompts and labels.

# %%
show_rows("sft")

# %%
run(f"train_sft.py --config {config('sft')} --output_dir {RUN}/sft")

# %% [markdown]
# Now choose a title, or write one:
#
# - 春夜喜雨: joyful rain on a spring night
# - 秋暮山居: living in the hills on an autumn evening
# - 夏日送客: seeing off a guest on a summer day
# - 冬日對酒: wine on a winter day

# %%
TITLE = "春夜喜雨"  # change this
SEED = 7

tuned, tokenizer = poet.load(RUN / "sft")
for poem in poet.write(tuned, tokenizer, TITLE, n=2, seed=SEED):
    print(poem, end="\n\n")

# %% [markdown]
# The stored output has one poem of five characters per line and one of seven. The title asks for
# spring, and the poem answers with autumn. A model of this size keeps the form, and often loses the
# sense:
#
# | line | word by word |
# |---|---|
# | 秋風日晚寂， | autumn wind, day, late, silent |
# | 秋雨隔門留。 | autumn rain, beyond the gate, stay |
# | 泉聲殘月月， | sound of the spring, waning moon, moon |
# | 半夜深山秋半夜， | midnight, deep hills, autumn, midnight |

# %% [markdown]
# ## Stage 5: Alignment
#
# Some poems have lines of five characters, others have lines of seven. Suppose that you prefer
# five. Alignment teaches this with pairs of poems: a preferred one and a rejected one. The method
# is direct preference optimization (DPO). It increases the lead of the preferred poem over the
# rejected one. The model before alignment, the *reference*, says how large the lead was.
#
# **Look at** the reward margin. It begins at 0, because both models are equal then. It grows when
# the model tells the two kinds apart. The output shows the poem of both models side by side.
# [Chapter 9](../book/09-preference.md) derives the loss, and says what alignment costs. [Chapter
# 10](../book/10-reward.md) uses rules instead of pairs.

# %%
show_rows("dpo")

# %%
run(f"train_dpo.py --config {config('dpo')} --output_dir {RUN}/dpo")

# %% [markdown]
# The next cell lets both models write for the same title, with the same random numbers. Count the
# characters before each mark. The title means *listening to the rain on an autumn night*.

# %%
TITLE = "秋夜聽雨"  # change this
SEED = 10  # one of those that show the difference

aligned, tokenizer = poet.load(RUN / "dpo")
for name, model in {"before alignment": tuned, "after alignment": aligned}.items():
    print(f"{name}:\n{poet.write(model, tokenizer, TITLE, seed=SEED)[0]}\n")

# %% [markdown]
# In the stored output, the poem before alignment has lines of four to six characters:
#
# | line | word by word |
# |---|---|
# | 千峰明月夜闌。 | before: a thousand peaks, bright moon, the night is late |
# | 時時多開。 | before: again and again, many, open |
# | 千峰明月夜。 | after: a thousand peaks, bright moon, night |
# | 秋雨夜月明。 | after: autumn rain, night, the moon is bright |

# %% [markdown]
# ## Compare
#
# One poem proves nothing. So both models write one poem for each held-out title, and we count. The
# brackets show the 95 % interval ([Evaluation](../docs/evaluation.md)). The third column holds the
# poems that the titles come from. In `sample`, a larger model wrote these too.
#
# **Look at** three things. The share of five-character poems should rise. The loss on all poems may
# rise too, because other poems became less likely: this is the price. The last line counts poems
# with a rhyme. A model as small as that of `sample` does not learn to rhyme. [Chapter
# 11](../book/11-steering.md) says what these measures can and cannot see.

# %%
from contextlib import redirect_stderr

from poet.evaluation.checkpoints import evaluate_run

MEASURES = ("well_formed", "five_character", "poem_loss", "poem_loss_five_character", "rhymed")

with redirect_stderr(sys.stdout):  # its progress
    rows = evaluate_run(RUN)
names = {"sft": "before alignment", "dpo": "after alignment", "poets": "held-out poems"}
table = [["", *(names[row] for row in rows)]]
for measure in MEASURES:
    table.append([measure])
    for row in rows.values():
        value = getattr(row, measure)
        low, high = value.interval if value else (0, 0)
        table[-1].append(f"{value.value:.2f} ({low:.2f} to {high:.2f})" if value else "")
print()
for first, *others in table:
    print(f"{first:24}", *(f"{cell:20}" for cell in others))

# %% [markdown]
# ## Write in a form
#
# A model that does not know rhyme can still be made to rhyme. A *mask* forbids each next character
# that would break the rules of a form. The form 五言絕句 (*jueju*) has four lines of five
# characters. The even lines rhyme, and the tones follow a pattern. The function `judge` checks the
# poem. Other forms are 五言律詩 (eight lines) and 七言絕句 (lines of seven).
#
# [Chapter 11](../book/11-steering.md) explains the mask, and [Verse](../docs/verse.md) lists the
# forms.

# %%
TITLE, FORM, SEED = "山居", "五言絕句", 5  # change this: "living in the hills", a jueju

free, masked = (
    poet.write(aligned, tokenizer, TITLE, form=form, seed=SEED)[0] for form in (None, FORM)
)
for name, poem in {"without a mask": free, "with a mask": masked}.items():
    judgment = poet.judge(poem)
    print(f"{name}: rhymed {judgment.rhymed}, regulated {judgment.regulated}\n{poem}\n")

# %% [markdown]
# The masked poem of the stored output, couplet by couplet:
#
# | couplet | word by word |
# |---|---|
# | 石雲山路沈，黃動曉光深。 | stone, cloud, mountain path sinks; yellow stirs, deep dawn light |
# | 煙雨擣江話，水風風斷臨。 | misty rain, pound, river, talk; water, wind, wind, break off, near |
#
# The second and the fourth line end in 深 and 臨, which rhymed in the Tang dynasty.

# %% [markdown]
# ## Where to go
#
# - The models are in `runs/notebook`, one folder per stage. Each is a plain Hugging Face
#   checkpoint.
# - To train again with other numbers, delete the folders of that stage and of the later ones. Then
#   add an option to its command, such as `--max_steps 600`. A finished stage is skipped.
# - [Chapter 12](../book/12-where-to-go.md) shows how to train on your own texts, in any language.
# - If something fails, see [Troubleshooting](../book/troubleshooting.md).
