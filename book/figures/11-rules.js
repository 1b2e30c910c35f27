// The reasons of the mask in Chinese. 11-data.js has them in English.
"use strict";

const FAULTS = {
  失替: "这一句的双数位置上，平仄没有交替",
  失對: "一联的两句，平仄没有相反",
  失黏: "与上一句平仄不同，应该相同",
  孤平: "这个平声两边都是仄声",
  仄收: "单数句收了平声，而只有首句可以",
  三平尾: "句末连用三个平声",
  重韻: "同一个韵脚用了两次",
  出韻: "韵脚不在全诗的韵部里",
};

// The first sentence may be followed by the second. Each pattern has its words in Chinese.
const REASONS = [
  [/^The form has another token here\./, () => "诗体在这里要用别的词元。"],
  [/^The poem ends only after its last line\./, () => "写完最后一句，诗才能结束。"],
  [/^The poem has (.), which is not a Chinese character\./, (sign) => `${sign} 不是汉字。`],
  [/^.* has (\d+) lines\. The poem has (\d+)\./, (all, n) => `全诗 ${all} 句，这里已是第 ${n} 句。`],
  [
    /^Line (\d) has (\d+) characters instead of (\d)\./,
    (line, count, due) => `第 ${line} 句写到第 ${count} 个字了，只能有 ${due} 个。`,
  ],
  [
    /^Line (\d) ends with (.) instead of (.)\./,
    (line, mark, due) => `第 ${line} 句的末尾用“${due}”，不用“${mark}”。`,
  ],
  [
    /^Line (\d), place (\d): (.) already ends line (\d)\./,
    (line, place, sign, other) => `第 ${line} 句第 ${place} 字：“${sign}”已经是第 ${other} 句的韵脚。`,
  ],
  [
    /^Line (\d), place (\d): (.) is in (.*), but the request asks for (.) \(.*?\)\./,
    (line, place, sign, groups, due) =>
      `第 ${line} 句第 ${place} 字：“${sign}”在${groupsOf(groups)}韵，这首诗押${due}韵。`,
  ],
  [
    /^Lines? (\d)(?:–(\d))?, place (\d): .*? \(([^)]+)\)\./,
    (first, second, place, rule) =>
      `第 ${second ? `${first}、${second}` : first} 句第 ${place} 字：${rule}，${FAULTS[rule]}。`,
  ],
  [/^ The line must rhyme, because it ends level\./, () => "这一句收平声，就要入韵。"],
  [/^ The judge accepts .*\./, () => "裁判容许这种变格，掩码不许。"],
];

// Returns the names in "東 (1-dong) and 董 (shang-1-dong)".
const groupsOf = (text) => text.replace(/ \(.*?\)/g, "").replaceAll(" and ", "、");

// Returns a reason in Chinese, or as it is if it has no Chinese here.
function inChinese(why) {
  let [rest, words] = [why, ""];
  while (rest) {
    const pair = REASONS.find(([pattern]) => pattern.test(rest));
    if (!pair) return why;
    const [whole, ...parts] = rest.match(pair[0]);
    words += pair[1](...parts);
    rest = rest.slice(whole.length);
  }
  return words;
}

if (typeof module !== "undefined") module.exports = { inChinese };
