"""Places whose name is not the name of a time zone: capitals, big cities, states, countries as people call them.

One zone a line: ``zone: name, name, ...``. ``name > label`` is spoken of as ``label``. The zones' own cities (Tokyo,
New York) and the countries' official names come from the time zone database and are not repeated here.
"""

PLACES = """
America/New_York: Washington, Washington DC > Washington D.C., Boston, Philadelphia, Miami, Atlanta, Orlando
America/New_York: Tampa, Charlotte, Baltimore
America/New_York: Pittsburgh, Cleveland, Cincinnati, Columbus, Buffalo, Raleigh, Jacksonville, Brooklyn
America/New_York: Manhattan, NYC > New York, Big Apple > New York
America/New_York: New Jersey, Massachusetts, Pennsylvania, Virginia, North Carolina, South Carolina, Ohio, Maine
America/New_York: Vermont, Maryland
America/New_York: New Hampshire, Connecticut, Rhode Island, Delaware, West Virginia
America/New_York: District of Columbia > Washington D.C.
America/New_York: Florida, Atlanta Georgia > Atlanta, New York State, US East Coast > the US East Coast
America/New_York: East Coast > the US East Coast
America/New_York: Eastern > Eastern Time, ET > Eastern Time, EST > Eastern Time, EDT > Eastern Time
America/New_York: USA > Washington D.C., US > Washington D.C., United States > Washington D.C.
America/New_York: America > Washington D.C.
America/New_York: United States of America > Washington D.C., 纽约, 华盛顿, 波士顿, 迈阿密, 费城, 亚特兰大
America/New_York: 美国 > 华盛顿
America/Detroit: Michigan
America/Chicago: Houston, Dallas, Austin, San Antonio, Texas, Illinois, Minneapolis, Minnesota, Milwaukee
America/Chicago: Wisconsin, New Orleans, Louisiana
America/Chicago: St Louis > St. Louis, Missouri, Kansas City, Kansas, Memphis, Nashville, Tennessee
America/Chicago: Oklahoma City, Oklahoma, Iowa, Omaha, Nebraska
America/Chicago: Alabama, Mississippi, Arkansas, Fort Worth, Central > Central Time, CST > Central Time
America/Chicago: CDT > Central Time, 芝加哥, 休斯顿, 达拉斯
America/Denver: Colorado, Salt Lake City, Utah, Albuquerque, New Mexico, Montana, Wyoming
America/Denver: Mountain > Mountain Time, MST > Mountain Time, 丹佛
America/Phoenix: Arizona, Tucson, 凤凰城
America/Los_Angeles: LA > Los Angeles, San Francisco, SF > San Francisco, Seattle, Portland, San Diego, San Jose
America/Los_Angeles: Las Vegas, Vegas > Las Vegas
America/Los_Angeles: Oakland, Sacramento, California, Oregon, Washington State, Nevada, Silicon Valley
America/Los_Angeles: Hollywood, Bay Area > the Bay Area
America/Los_Angeles: West Coast > the US West Coast, US West Coast > the US West Coast, Pacific > Pacific Time
America/Los_Angeles: PST > Pacific Time, PDT > Pacific Time
America/Los_Angeles: PT > Pacific Time, 洛杉矶, 旧金山, 西雅图, 拉斯维加斯, 加州, 硅谷
America/Anchorage: Alaska
Pacific/Honolulu: Hawaii, 夏威夷, 檀香山
America/Toronto: Ottawa, Montreal, Ontario, Quebec, Quebec City, Hamilton, Canada > Ottawa, 多伦多, 渥太华
America/Toronto: 蒙特利尔, 加拿大 > 渥太华
America/Vancouver: British Columbia, Victoria BC > Victoria, 温哥华
America/Edmonton: Calgary, Alberta
America/Winnipeg: Manitoba
America/Regina: Saskatchewan
America/Halifax: Nova Scotia, New Brunswick
America/St_Johns: Newfoundland
America/Mexico_City: Guadalajara, 墨西哥城
America/Cancun: Playa del Carmen
America/Sao_Paulo: Rio de Janeiro, Rio > Rio de Janeiro, Brasilia > Brasília, Belo Horizonte, Brazil > Brasília
America/Sao_Paulo: 圣保罗 里约热内卢, 巴西 > 巴西利亚
America/Argentina/Buenos_Aires: Argentina > Buenos Aires, 布宜诺斯艾利斯
America/Santiago: Chile
America/Bogota: Medellin > Medellín, Cali
America/Guayaquil: Quito
Europe/London: England, Scotland, Wales, Great Britain, Britain, UK > the UK, Edinburgh, Glasgow, Manchester
Europe/London: Birmingham, Liverpool, Cardiff
Europe/London: Leeds, Oxford, Cambridge, Bristol, BST > British Summer Time, 伦敦, 英国, 曼彻斯特, 爱丁堡
Europe/Berlin: Munich, Hamburg, Frankfurt, Cologne, Stuttgart, Dusseldorf > Düsseldorf, Leipzig, Germany
Europe/Berlin: CET > Central European Time, CEST > Central European Time, 柏林, 慕尼黑, 法兰克福, 汉堡, 德国
Europe/Paris: Lyon, Marseille, Nice, Bordeaux, Toulouse, Strasbourg, 巴黎, 法国
Europe/Madrid: Barcelona, Valencia, Seville, Spain, 马德里, 巴塞罗那, 西班牙
Europe/Lisbon: Porto, Portugal, 里斯本
Europe/Rome: Milan, Naples, Florence, Venice, Turin, Vatican City, 罗马, 米兰, 意大利
Europe/Amsterdam: Holland, The Hague, Rotterdam, 阿姆斯特丹
Europe/Zurich: Geneva, Bern, Basel, 苏黎世, 日内瓦, 瑞士
Europe/Vienna: Salzburg, 维也纳
Europe/Brussels: Antwerp, 布鲁塞尔
Europe/Prague: Czechia, 布拉格
Europe/Warsaw: Krakow > Kraków, 华沙
Europe/Stockholm: Gothenburg, Malmo > Malmö, 斯德哥尔摩, 瑞典
Europe/Oslo: Bergen, 奥斯陆, 挪威
Europe/Copenhagen: 哥本哈根, 丹麦
Europe/Helsinki: 赫尔辛基, 芬兰
Europe/Dublin: Cork, 都柏林
Europe/Athens: 雅典, 希腊
Europe/Kyiv: Kiev > Kyiv, Lviv, Odesa, Ukraine, 基辅
Europe/Moscow: St Petersburg > Saint Petersburg, Saint Petersburg, Russia > Moscow, 莫斯科, 圣彼得堡
Europe/Moscow: 俄罗斯 > 莫斯科
Europe/Istanbul: Ankara, Turkey, Türkiye > Turkey, 伊斯坦布尔
Europe/Budapest: 布达佩斯
Asia/Dubai: Abu Dhabi, UAE > the UAE, 迪拜, 阿布扎比
Asia/Riyadh: Jeddah, Mecca, 利雅得
Asia/Jerusalem: Tel Aviv, 耶路撒冷, 特拉维夫
Asia/Tehran: 德黑兰
Asia/Karachi: Islamabad, Lahore
Asia/Kolkata: Mumbai, Bombay > Mumbai, Delhi, New Delhi, Bangalore, Bengaluru, Chennai, Hyderabad
Asia/Kolkata: Calcutta > Kolkata, Pune, Ahmedabad, Jaipur
Asia/Kolkata: IST > India, 孟买, 新德里, 班加罗尔, 印度
Asia/Kathmandu: 加德满都
Asia/Dhaka: 达卡
Asia/Yangon: Rangoon > Yangon, Burma
Asia/Bangkok: 曼谷, 泰国
Asia/Ho_Chi_Minh: Saigon > Ho Chi Minh City, Hanoi, Vietnam, 胡志明市, 河内, 越南
Asia/Singapore: 新加坡
Asia/Kuala_Lumpur: Malaysia, 吉隆坡
Asia/Jakarta: Indonesia > Jakarta, 雅加达
Asia/Makassar: Bali
Asia/Manila: 马尼拉
Asia/Shanghai: Beijing, Peking > Beijing, Shenzhen, Guangzhou, Chengdu, Hangzhou, Wuhan, Xian > Xi'an, Nanjing
Asia/Shanghai: Tianjin Suzhou, Chongqing
Asia/Shanghai: Qingdao, Xiamen, China, Mainland China > China, 北京, 上海, 深圳, 广州, 成都, 杭州, 武汉, 西安
Asia/Shanghai: 南京, 天津, 苏州, 重庆, 青岛, 厦门, 中国
Asia/Shanghai: 长沙, 郑州, 沈阳, 大连, 哈尔滨, 昆明, 拉萨
Asia/Urumqi: 乌鲁木齐
Asia/Hong_Kong: HK > Hong Kong, 香港
Asia/Macau: Macao > Macau, 澳门
Asia/Taipei: Kaohsiung, Taiwan, 台北, 台湾
Asia/Tokyo: Osaka, Kyoto, Yokohama, Sapporo, Nagoya, Fukuoka, JST > Japan, 东京, 大阪, 京都, 日本
Asia/Seoul: Busan, Korea > South Korea, South Korea, KST > South Korea, 首尔, 釜山, 韩国
Asia/Pyongyang: North Korea
Asia/Almaty: Astana
Australia/Sydney: Canberra, New South Wales, Australia > Canberra, 悉尼, 堪培拉, 澳大利亚 > 堪培拉
Australia/Melbourne: Victoria, 墨尔本
Australia/Brisbane: Gold Coast > the Gold Coast, Queensland, Cairns, 布里斯班
Australia/Perth: Western Australia, 珀斯
Australia/Adelaide: South Australia
Australia/Hobart: Tasmania
Pacific/Auckland: Wellington, Christchurch, New Zealand, 奥克兰, 惠灵顿, 新西兰
Africa/Cairo: Alexandria, Giza, 开罗, 埃及
Africa/Johannesburg: Cape Town, Pretoria, Durban, 约翰内斯堡, 开普敦, 南非
Africa/Nairobi: 内罗毕
Africa/Lagos: Abuja, Nigeria
Africa/Casablanca: Marrakesh, Marrakech, Rabat, Morocco
Africa/Addis_Ababa: 亚的斯亚贝巴
Africa/Dar_es_Salaam: Zanzibar, Tanzania
Africa/Abidjan: Ivory Coast
Africa/Kinshasa: Congo > Kinshasa
Etc/UTC: Zulu > UTC, GMT, Greenwich > GMT, Greenwich Mean > GMT, Coordinated Universal > UTC, Universal > UTC
"""
