// English glosses of the characters that are most frequent in the poems of the recipe `sample`.
// Most characters have several senses. Each gloss is one of them, in one or two words.
"use strict";

const GLOSSES = new Map(
  `秋 autumn, 不 not, 風 wind, 春 spring, 夜 night, 雨 rain, 日 sun, 月 moon, 山 mountain,
  人 person, 一 one, 無 without, 上 on, 中 middle, 花 flower, 客 guest, 水 water, 暮 dusk,
  時 time, 夏 summer, 寒 cold, 行 go, 江 river, 來 come, 冬 winter, 何 what, 有 have,
  晴 clear sky, 曉 dawn, 雲 cloud, 處 place, 見 see, 獨 alone, 下 below, 落 fall, 酒 wine,
  長 long, 歸 return, 此 this, 色 color, 相 each other, 滿 full, 白 white, 樓 tower,
  未 not yet, 天 sky, 空 empty, 深 deep, 樹 tree, 事 matter, 年 year, 清 clear, 望 gaze,
  明 bright, 知 know, 遠 far, 去 leave, 聲 sound, 多 many, 生 grow, 愁 sorrow, 閑 idle,
  心 heart, 雪 snow, 如 like, 草 grass, 高 high, 自 self, 坐 sit, 柳 willow, 居 dwell,
  松 pine, 是 is, 南 south, 光 light, 青 green, 盡 end, 晚 evening, 煙 mist, 新 new,
  起 rise, 更 still more, 別 part, 後 after, 入 enter, 到 arrive, 還 return, 葉 leaf, 得 get,
  家 home, 思 think of, 聞 hear, 路 road, 鳥 bird, 東 east, 西 west, 誰 who, 城 city wall,
  池 pond, 林 woods, 千 thousand, 看 look, 里 mile, 露 dew, 前 before, 在 be at, 夕 evening,
  初 first, 飛 fly, 殘 remnant, 夢 dream, 過 pass, 聽 listen, 欲 wish, 吹 blow, 裏 inside,
  門 gate, 野 wild, 陰 shade, 似 seem, 情 feeling, 竹 bamboo, 對 facing, 今 now, 霜 frost,
  孤 lonely, 流 flow, 猶 still, 開 open, 已 already, 邊 edge, 爲 do, 舟 boat, 故 old,
  早 early, 三 three, 吟 chant, 陽 sunlight, 萬 ten thousand, 溪 stream, 村 village,
  覺 wake, 間 between, 寺 temple, 紅 red, 應 ought, 半 half, 地 earth, 涼 cool, 幽 quiet,
  朝 morning, 離 leave, 窗 window, 君 you, 登 climb, 復 again, 頭 head, 寄 send, 幾 how many,
  枝 branch, 影 shadow, 驚 startle, 舊 former, 蕭 bleak, 送 see off, 懷 bosom, 照 shine,
  向 toward, 同 together, 燈 lamp, 莫 do not, 鐘 bell, 老 old, 氣 air, 病 illness,
  靜 still, 出 go out, 北 north, 醉 drunk, 斷 break off, 友 friend, 步 step, 鄉 home village,
  塵 dust, 舍 lodge, 綠 green, 逢 meet, 難 hard, 可 may, 外 outside, 香 scent, 波 wave,
  衣 robe, 條 twig, 與 with, 庭 courtyard, 餘 remain, 道 way, 碧 jade-green, 少 few,
  久 long time, 好 good, 發 set out, 遊 roam, 意 intent, 斜 slant, 古 ancient, 玉 jade,
  重 again, 海 sea, 近 near, 憶 remember, 寂 silent, 成 become, 岸 shore, 石 stone,
  沙 sand, 唯 only, 暗 dark, 弟 brother, 平 level, 宿 lodge, 問 ask, 苦 bitter, 景 scene,
  輕 light, 馬 horse, 微 faint, 亦 also, 金 gold, 閒 idle, 園 garden, 又 again, 遲 late,
  書 letter, 歲 year, 悠 far-off, 疎 sparse, 冷 cold, 連 join, 語 words, 尋 seek, 臥 lie down,
  身 body, 堪 bear, 遙 distant, 啼 cry, 從 from, 却 yet, 散 scatter, 關 pass, 共 share,
  將 about to, 華 splendor, 臨 look over, 臺 terrace, 言 speak, 所 that which, 小 small,
  正 just, 當 should, 亂 tangled, 能 can, 芳 fragrant, 我 I, 經 pass through, 十 ten,
  方 just then, 僧 monk, 黃 yellow, 百 hundred, 分 divide, 悲 grief, 節 season, 淚 tears,
  動 move, 隔 apart, 期 appointed time, 帶 carry, 數 several, 作 make, 宮 palace, 木 tree,
  五 five, 留 stay, 度 cross, 子 child, 片 petal, 詩 poem, 恨 regret, 安 peace, 依 lean on,
  霞 rosy cloud, 兩 two, 隨 follow, 髮 hair, 河 river, 泉 spring water, 窮 exhaust, 歌 song,
  枕 pillow, 垂 hang down, 稀 rare, 低 low, 沈 sink, 終 at last, 因 because, 鴈 wild goose,
  洞 cave, 蒼 grey-green, 鳴 call, 亭 pavilion, 九 nine, 漸 gradually, 眠 sleep, 湖 lake,
  四 four, 鶴 crane, 迴 turn back, 憐 pity, 首 head, 飄 drift, 回 turn back, 急 swift,
  濕 wet, 若 if, 取 take, 宵 night, 魂 soul, 楚 Chu, 國 country, 翠 emerald, 牀 bed,
  歇 rest, 院 court, 他 other, 待 wait, 堂 hall, 忽 suddenly, 頻 often, 口 mouth,
  常 always, 須 must, 興 mood, 絕 cut off, 火 fire, 徑 path, 逐 chase, 休 stop, 傷 wound,
  滴 drip, 苔 moss, 倚 lean, 惆 downcast, 食 eat, 含 hold, 轉 turn, 戶 door, 傍 beside,
  星 star, 雁 wild goose, 浮 float, 棲 roost, 絲 silk, 雙 pair, 非 is not, 荒 desolate,
  搖 sway, 龍 dragon, 魚 fish, 峰 peak, 笑 laugh, 通 lead through, 暖 warm, 昏 dim,
  簾 curtain, 拂 brush, 旅 travel, 橋 bridge, 蟬 cicada, 至 reach, 闕 palace gate, 定 settle,
  合 join, 悵 forlorn, 顏 face, 物 thing, 偏 leaning, 世 world, 潮 tide, 愛 love,
  然 so, 勝 surpass, 限 limit, 浪 wave, 帆 sail, 醒 sober, 名 name, 館 inn, 杯 cup, 易 easy,
  細 fine, 猨 gibbon, 著 wear, 眼 eye, 立 stand, 燭 candle, 曲 tune, 衰 wither, 移 shift,
  惜 cherish, 渡 ferry, 信 message, 漁 fishing, 積 heap up, 曾 once, 琴 zither, 田 field,
  闌 railing, 川 river, 之 of it, 以 by, 而 and, 其 its, 於 at, 者 one who, 二 two, 六 six,
  七 seven, 八 eight, 大 great, 王 king, 女 woman, 兒 child, 母 mother, 父 father, 手 hand,
  面 face, 目 eye, 桃 peach, 梅 plum, 蘭 orchid, 菊 chrysanthemum, 蓮 lotus, 荷 lotus,
  鶯 oriole, 燕 swallow, 猿 gibbon, 犬 dog, 雞 rooster, 蟲 insect, 車 cart, 劍 sword,
  笛 flute, 鼓 drum, 舞 dance, 茶 tea, 井 well, 屋 house, 床 bed, 船 boat, 征 journey,
  戰 war, 軍 army, 兵 soldier, 臣 minister, 皇 emperor, 仙 immortal, 神 spirit,
  佛 Buddha, 禪 Zen, 題 title, 請 please, 用 use, 寫 write, 喜 joy, 美 beautiful`
    .split(/,\s*/)
    .map((entry) => [entry[0], entry.slice(2)]),
);

const NAMES = { "\n": "new line", "，": "comma", "。": "full stop", "<end>": "the end" };

// Returns the gloss of a token, or nothing for one that has none here.
function gloss(token) {
  return NAMES[token] ?? GLOSSES.get(token) ?? "";
}
